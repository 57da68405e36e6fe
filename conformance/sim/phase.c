#include "conformance/sim/phase.h"

#include "conformance/sim/world.h"
#include "ph_commands.h"
#include "server/core/look.h"

enum { VIEWS_MAX = 16 };

/* How far a request is. */
enum stage { ASKED, ARRIVED, ANSWERED, STAGES };

enum kind { OTHER, LOOKS, CHANGES, RENAMES, CLAIMS, CLOSES, KINDS };

struct under_way {
    const struct sim_conn *conn;
    uint64_t id;
    enum kind kind;
    enum stage stage;
};

struct sim_phases {
    GArray *all; /* struct under_way */
    guint counts[KINDS][STAGES];
};

const char *sim_phase_name(enum sim_phase phase)
{
    static const char *const names[SIM_PHASES] = {
        [SIM_PHASE_NONE] = "any",
        [SIM_PHASE_IDLE] = "idle",
        [SIM_PHASE_WANTED] = "lease wanted",
        [SIM_PHASE_GRANT] = "grant under way",
        [SIM_PHASE_RECALL] = "recall out",
        [SIM_PHASE_FLUSH] = "flush under way",
        [SIM_PHASE_UNANSWERED] = "applied, unanswered",
        [SIM_PHASE_RENAME] = "rename half done",
        [SIM_PHASE_RECLAIM] = "reclaim",
        [SIM_PHASE_GRACE] = "grace",
        [SIM_PHASE_SHUTDOWN] = "shutdown",
    };
    return names[phase];
}

struct sim_phases *sim_phases_new(void)
{
    struct sim_phases *phases = g_new0(struct sim_phases, 1);
    phases->all = g_array_new(FALSE, FALSE, sizeof(struct under_way));
    return phases;
}

void sim_phases_free(struct sim_phases *phases)
{
    if (!phases)
        return;
    g_array_unref(phases->all);
    g_free(phases);
}

static gboolean is_rename(const uint8_t *message, size_t len)
{
    Pohmel__TransactRequest *transact = pohmel__transact_request__unpack(NULL, len, message);
    gboolean renames = FALSE;
    for (size_t i = 0; transact && i < transact->n_changes; i++)
        renames |= transact->changes[i]->command_case == POHMEL__CHANGE__COMMAND_RENAME;
    if (transact)
        pohmel__transact_request__free_unpacked(transact, NULL);
    return renames;
}

static enum kind kind_of(const struct ph_frame_header *header, const uint8_t *message, size_t len)
{
    switch (header->command) {
    case PH_CMD_TRANSACT:
        return message && is_rename(message, len) ? RENAMES : CHANGES;
    case PH_CMD_RECLAIM:
    case PH_CMD_RECLAIM_DONE:
        return CLAIMS;
    case PH_CMD_SESSION_CLOSE:
        return CLOSES;
    case PH_CMD_LOOKUP:
    case PH_CMD_GETATTR:
    case PH_CMD_OPEN:
    case PH_CMD_READ:
    case PH_CMD_READDIR:
    case PH_CMD_LEASE_ACQUIRE:
        return LOOKS;
    default:
        return OTHER;
    }
}

static struct under_way *find(struct sim_phases *phases, const struct sim_conn *conn, uint64_t id)
{
    for (guint i = 0; i < phases->all->len; i++) {
        struct under_way *one = &g_array_index(phases->all, struct under_way, i);
        if (one->conn == conn && one->id == id)
            return one;
    }
    return NULL;
}

static void drop(struct sim_phases *phases, struct under_way *one)
{
    phases->counts[one->kind][one->stage]--;
    g_array_remove_index_fast(phases->all, (guint) (one - (struct under_way *) (void *) phases->all->data));
}

void sim_phases_asked(struct sim_phases *phases, const struct sim_conn *conn,
                      const struct ph_frame_header *header, const uint8_t *message, size_t len)
{
    if (!phases || header->kind != PH_FRAME_REQUEST || find(phases, conn, header->id))
        return;
    struct under_way one = {.conn = conn, .id = header->id, .kind = kind_of(header, message, len)};
    phases->counts[one.kind][ASKED]++;
    g_array_append_val(phases->all, one);
}

static void move(struct sim_phases *phases, const struct sim_conn *conn, const struct ph_frame_header *header,
                 enum stage to)
{
    struct under_way *one = phases ? find(phases, conn, header->id) : NULL;
    if (!one || one->stage >= to)
        return;
    phases->counts[one->kind][one->stage]--;
    one->stage = to;
    phases->counts[one->kind][one->stage]++;
}

void sim_phases_arrived(struct sim_phases *phases, const struct sim_conn *conn,
                        const struct ph_frame_header *header)
{
    if (header->kind == PH_FRAME_REQUEST)
        move(phases, conn, header, ARRIVED);
}

void sim_phases_answered(struct sim_phases *phases, const struct sim_conn *conn,
                         const struct ph_frame_header *header)
{
    if (header->kind == PH_FRAME_REPLY)
        move(phases, conn, header, ANSWERED);
}

void sim_phases_done(struct sim_phases *phases, const struct sim_conn *conn,
                     const struct ph_frame_header *header)
{
    struct under_way *one = phases && header->kind == PH_FRAME_REPLY ? find(phases, conn, header->id) : NULL;
    if (one)
        drop(phases, one);
}

void sim_phases_lost(struct sim_phases *phases, const struct sim_conn *conn)
{
    for (guint i = phases ? phases->all->len : 0; i-- > 0;) {
        struct under_way *one = &g_array_index(phases->all, struct under_way, i);
        if (one->conn == conn)
            drop(phases, one);
    }
}

static gboolean is_recalled(struct world *world)
{
    struct ph_session_view views[VIEWS_MAX];
    size_t count = ph_server_look_sessions(world->server, 0, views, VIEWS_MAX);
    for (size_t i = 0; i < MIN(count, VIEWS_MAX); i++) {
        if (views[i].recalled > 0)
            return TRUE;
    }
    return FALSE;
}

gboolean sim_phase_is(struct world *world, enum sim_phase phase)
{
    const struct sim_phases *phases = world->phases;
    if (!world->server)
        return FALSE;
    switch (phase) {
    case SIM_PHASE_IDLE:
        return phases->all->len == 0 && !is_recalled(world) && ph_server_look_grace(world->server) == 0;
    case SIM_PHASE_WANTED:
        return ph_server_running(world->server) > world->running->len;
    case SIM_PHASE_GRANT:
        return phases->counts[LOOKS][ANSWERED] > 0;
    case SIM_PHASE_RECALL:
        return is_recalled(world);
    case SIM_PHASE_FLUSH:
        return phases->counts[CHANGES][ASKED] + phases->counts[RENAMES][ASKED] > 0;
    case SIM_PHASE_UNANSWERED:
        return phases->counts[CHANGES][ANSWERED] + phases->counts[RENAMES][ANSWERED] > 0;
    case SIM_PHASE_RENAME:
        return phases->counts[RENAMES][ARRIVED] > 0;
    case SIM_PHASE_RECLAIM:
        return phases->counts[CLAIMS][ASKED] + phases->counts[CLAIMS][ARRIVED] > 0;
    case SIM_PHASE_GRACE:
        return ph_server_look_grace(world->server) > 0;
    case SIM_PHASE_SHUTDOWN:
        return phases->counts[CLOSES][ASKED] + phases->counts[CLOSES][ARRIVED] +
                   phases->counts[CLOSES][ANSWERED] >
               0;
    case SIM_PHASE_NONE:
    case SIM_PHASES:
        break;
    }
    return TRUE;
}
