/* Others look at what is held exclusively here: they are told, where it is being written, and may share it,
 * where it is not. docs/protocol.md, section 9.5. */
#include "client/fuse/coherence_private.h"
#include "client/fuse/writeback.h"
#include "ph_stubs.h"

static void heard(void *data, const struct ph_reply *reply)
{
    /* What the server did not hear it asks for otherwise. */
}

/* ATTR: NULL where nothing can be said. */
static void answer(struct ph_link *link, const Pohmel__GlimpseEvent *glimpse,
                   const struct ph_cached_attr *attr, bool unsent, bool sharing)
{
    Pohmel__GlimpseAnswerRequest message = POHMEL__GLIMPSE_ANSWER_REQUEST__INIT;
    struct ph_cached_attr_wire wire;
    message.question = glimpse->question;
    message.lease = attr != NULL ? glimpse->lease : 0;
    message.attr = attr != NULL ? (Pohmel__Attr *) ph_cached_attr_to_wire(attr, &wire) : NULL;
    message.unsent = unsent;
    message.sharing = sharing;
    ph_send_glimpse_answer(ph_link_stub(link), &message, NULL, heard, NULL);
}

void ph_coherence_ask_attr_again(struct ph_coherence *coherence, uint64_t object)
{
    pthread_mutex_lock(&coherence->mutex);
    ph_cache_forget_attr(coherence->cache, object);
    bool told = ph_cache_take_attr_told(coherence->cache, object);
    struct ph_notifier *notifier = told ? coherence->notifier : NULL;
    pthread_mutex_unlock(&coherence->mutex);
    if (notifier != NULL)
        ph_notify_attr(notifier, object);
}

/* Whether somebody here may still be shown what OBJECT was like before: then the lease is given back. To be
 * asked when it is known what would be said. */
static bool is_untold(struct ph_coherence *coherence, uint64_t object)
{
    pthread_mutex_lock(&coherence->mutex);
    bool untold = ph_cache_is_untold(coherence->cache, object, ph_coherence_now(coherence));
    pthread_mutex_unlock(&coherence->mutex);
    return untold;
}

void ph_coherence_on_glimpse(void *data, const Pohmel__GlimpseEvent *glimpse)
{
    struct ph_coherence *coherence = data;
    struct ph_cached_attr attr;
    bool unsent = false;
    pthread_mutex_lock(&coherence->mutex);
    struct ph_writeback *writeback = coherence->writeback;
    struct ph_link *link = coherence->link;
    bool granted = coherence->granted;
    pthread_mutex_unlock(&coherence->mutex);
    enum ph_wb_glimpse verdict = PH_WB_GLIMPSE_NO;
    if (writeback != NULL && granted)
        verdict = ph_writeback_glimpse(writeback, glimpse->object, glimpse->lease, &attr, &unsent);
    /* The lease goes first: so it is there when who asked is looked after again. */
    if (verdict == PH_WB_GLIMPSE_QUIET)
        ph_coherence_give_back(coherence, glimpse->object, glimpse->lease, POHMEL__LEASE_MODE__MODE_SHARED);
    if (verdict == PH_WB_GLIMPSE_MOVED)
        ph_coherence_ask_attr_again(coherence, glimpse->object);
    if (glimpse->question == 0 || link == NULL)
        return;
    bool answered = (verdict == PH_WB_GLIMPSE_TOLD || verdict == PH_WB_GLIMPSE_MOVED) &&
                    !is_untold(coherence, glimpse->object);
    answer(link, glimpse, answered ? &attr : NULL, unsent, verdict == PH_WB_GLIMPSE_QUIET);
    pthread_mutex_lock(&coherence->mutex);
    coherence->glimpses += answered;
    pthread_mutex_unlock(&coherence->mutex);
}
