#include "server/core/slot.h"

#include <stddef.h>

#include "ph_commands.h"

static enum ph_slot_verdict refuse(struct ph_fault *fault, const struct ph_slot *slot,
                                   const struct ph_frame_header *header, const char *why)
{
    ph_fault_set(fault, PH_ST_BAD_SEQUENCE, "slot %u is at sequence number %u and got %u: %s", header->slot,
                 slot->sequence, header->sequence, why);
    return PH_SLOT_REFUSE;
}

/* The transaction that the slot knows already. */
static enum ph_slot_verdict admit_again(struct ph_slot *slot, const struct ph_frame_header *header,
                                        uint32_t cost, struct ph_fault *fault)
{
    if (!slot->busy && !slot->recorded && !slot->too_large)
        return refuse(fault, slot, header, "nothing was executed in it yet");
    if (header->body_crc != slot->request_crc)
        return refuse(fault, slot, header, "another transaction had this number");
    if (slot->busy && slot->repeats == PH_SLOT_REPEATS_MAX)
        return refuse(fault, slot, header, "it is being executed and was repeated already");
    if (slot->busy) {
        slot->repeat[slot->repeats++] = (struct ph_slot_repeat){.id = header->id, .cost = cost};
        return PH_SLOT_WAIT;
    }
    if (slot->too_large) {
        ph_fault_set(fault, PH_ST_LIMIT,
                     "the transaction was executed, but its answer was too large to be kept");
        return PH_SLOT_REFUSE;
    }
    return PH_SLOT_REPEAT;
}

enum ph_slot_verdict ph_slot_admit(struct ph_slot *slot, const struct ph_frame_header *header, uint32_t cost,
                                   struct ph_fault *fault)
{
    if (slot->any) {
        slot->any = false;
        slot->sequence = header->sequence - 1;
    }
    if (header->sequence == slot->sequence)
        return admit_again(slot, header, cost, fault);
    if (header->sequence != slot->sequence + 1)
        return refuse(fault, slot, header, "only the same or the next one may follow");
    if (slot->busy)
        return refuse(fault, slot, header, "the one before is not answered yet");
    ph_slot_clear(slot);
    slot->sequence = header->sequence;
    slot->request_crc = header->body_crc;
    slot->busy = true;
    return PH_SLOT_RUN;
}

void ph_slot_done(struct ph_slot *slot, uint32_t status, struct ph_blob *message, struct ph_blob *payload)
{
    size_t bytes = (message == NULL ? 0 : message->len) + (payload == NULL ? 0 : payload->len);

    slot->busy = false;
    slot->repeats = 0;
    slot->status = status;
    if (bytes > PH_SLOT_RECORD_MAX_BYTES) {
        slot->too_large = true;
        return;
    }
    slot->recorded = true;
    slot->message = message == NULL ? NULL : ph_blob_ref(message);
    slot->payload = payload == NULL ? NULL : ph_blob_ref(payload);
}

void ph_slot_detach(struct ph_slot *slot)
{
    slot->repeats = 0;
}

void ph_slot_clear(struct ph_slot *slot)
{
    ph_blob_unref(slot->message);
    ph_blob_unref(slot->payload);
    slot->message = slot->payload = NULL;
    slot->recorded = slot->too_large = false;
    slot->repeats = 0;
}
