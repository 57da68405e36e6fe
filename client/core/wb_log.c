/* The log: operations in the order in which they were made, and what each has to wait for. Operations
 * about one object follow each other; those on names of one directory follow what was done to the directory
 * itself before, and come before what is done to it later; those on one name follow each other. Everything
 * else is independent, and sent side by side. */
#include <stdlib.h>
#include <string.h>

#include "client/core/wb_private.h"
#include "client/core/wb_range.h"
#include "client/core/wb_xattr.h"
#include "ph_commands.h"

enum { DEPENDENTS_GONE_MAX = 16 /* places of these are left for later */ };

struct wb_op *wb_op_new(struct ph_wb *wb, enum wb_op_kind kind, struct wb_caller *caller, uint64_t now_ms)
{
    struct wb_op *op = wb_alloc(sizeof(*op));
    (void) wb;
    op->kind = kind;
    op->caller = caller;
    op->made_ms = now_ms;
    op->refs = 1;
    return op;
}

void wb_op_unref(struct wb_op *op)
{
    if (--op->refs > 0)
        return;
    for (int i = 0; i < 2; i++)
        free(op->names[i]);
    free(op->target);
    ph_blob_unref(op->value);
    free(op->deps);
    free(op->dependents);
    if (op->folded != NULL)
        wb_op_unref(op->folded);
    wb_caller_unref(op->caller);
    free(op);
}

static void push(struct wb_op ***list, size_t *count, size_t *capacity, struct wb_op *op)
{
    if (*count == *capacity) {
        *capacity = *capacity > 0 ? 2 * *capacity : 4;
        *list = realloc(*list, *capacity * sizeof(struct wb_op *));
        if (*list == NULL)
            abort();
    }
    (*list)[(*count)++] = op;
}

static void push_dep(struct wb_op *op, struct wb_dep dep)
{
    if (op->dep_count == op->dep_capacity) {
        op->dep_capacity = op->dep_capacity > 0 ? 2 * op->dep_capacity : 4;
        op->deps = realloc(op->deps, op->dep_capacity * sizeof(struct wb_dep));
        if (op->deps == NULL)
            abort();
    }
    op->deps[op->dep_count++] = dep;
}

void wb_op_depend(struct wb_op *op, struct wb_op *on)
{
    if (on == NULL || on == op || on->done)
        return;
    for (size_t i = 0; i < op->dep_count && i < 8; i++)
        if (op->deps[i].op == on)
            return;
    on->refs++;
    op->blockers++;
    push_dep(op, (struct wb_dep){.op = on, .at = on->dependent_count});
    op->refs++;
    push(&on->dependents, &on->dependent_count, &on->dependent_capacity, op);
}

struct wb_op *wb_last_of(const struct wb_object *o)
{
    return o->op_count > 0 ? o->ops[o->op_count - 1] : NULL;
}

struct wb_op *wb_make_of(const struct wb_object *o)
{
    return o->op_count > 0 && o->ops[0]->kind == WB_MAKE ? o->ops[0] : NULL;
}

bool wb_only_here(const struct wb_object *o)
{
    if (o->born || wb_make_of(o) == NULL)
        return false;
    for (size_t i = 0; i < o->op_count; i++)
        if (o->ops[i]->sent || o->ops[i]->uncertain ||
            (o->ops[i]->kind != WB_MAKE && o->ops[i]->kind != WB_STATE && o->ops[i]->kind != WB_XATTR))
            return false;
    return true;
}

void wb_op_about(struct ph_wb *wb, struct wb_op *op, struct wb_object *o)
{
    int which = op->objects[0] == NULL ? 0 : 1;
    (void) wb;
    o->pins++;
    op->objects[which] = o;
    wb_op_depend(op, wb_last_of(o));
    /* What a directory is given or loses counts for what happens in it later, not for its being moved, nor
     * for attributes that nothing in it depends on. */
    bool by_itself = op->kind == WB_RENAME || op->kind == WB_XATTR;
    for (struct wb_child *child = o->children.next; !by_itself && child != &o->children; child = child->next)
        wb_op_depend(op, child->op);
    push(&o->ops, &o->op_count, &o->op_capacity, op);
}

void wb_op_before(struct ph_wb *wb, struct wb_op *op, struct wb_object *o, struct wb_op *later)
{
    size_t at = 0;
    (void) wb;
    while (at < o->op_count && o->ops[at] != later)
        at++;
    o->pins++;
    op->objects[0] = o;
    if (at > 0)
        wb_op_depend(op, o->ops[at - 1]);
    push(&o->ops, &o->op_count, &o->op_capacity, op);
    memmove(&o->ops[at + 1], &o->ops[at], (o->op_count - 1 - at) * sizeof(o->ops[0]));
    o->ops[at] = op;
    wb_op_depend(later, op);
}

void wb_op_in(struct ph_wb *wb, struct wb_op *op, struct wb_object *directory, const void *name, size_t len)
{
    int which = op->dirs[0].directory == NULL ? 0 : 1;
    struct wb_child *child = &op->dirs[which];
    (void) wb;
    directory->pins++;
    *child = (struct wb_child){.op = op,
                               .directory = directory,
                               .next = &directory->children,
                               .previous = directory->children.previous};
    child->previous->next = child;
    directory->children.previous = child;
    wb_op_depend(op, wb_last_of(directory));
    op->names[which] = wb_alloc(len + 1);
    op->lens[which] = len;
    memcpy(op->names[which], name, len);
    struct ph_wb_name *entry = ph_wb_names_find(directory->names, name, len);
    if (entry == NULL)
        entry = ph_wb_names_put(directory->names, name, len, PH_WB_UNKNOWN);
    wb_op_depend(op, entry->op);
    op->fresh_name = entry->op == NULL && (which == 0 || op->fresh_name);
    entry->op = op;
}

static void enqueue(struct ph_wb *wb, struct wb_op *op)
{
    op->queued = true;
    op->queue_next = NULL;
    if (wb->ready_last != NULL)
        wb->ready_last->queue_next = op;
    else
        wb->ready_first = op;
    wb->ready_last = op;
}

static void ready(struct ph_wb *wb, struct wb_op *op)
{
    if (op->due && op->blockers == 0 && !op->queued && !op->sent && !op->done)
        enqueue(wb, op);
}

void wb_op_append(struct ph_wb *wb, struct wb_op *op)
{
    op->previous = wb->last;
    if (wb->last != NULL)
        wb->last->next = op;
    else
        wb->first = op;
    wb->last = op;
    wb->op_count++;
}

/* Without recursion: a chain may be as long as the log. */
void wb_op_due(struct ph_wb *wb, struct wb_op *op)
{
    struct wb_op **stack = NULL;
    size_t count = 0, capacity = 0;
    if (op->due)
        return;
    push(&stack, &count, &capacity, op);
    while (count > 0) {
        struct wb_op *top = stack[--count];
        if (top->done || top->due)
            continue;
        top->due = true;
        ready(wb, top);
        for (size_t i = 0; i < top->dep_count; i++)
            if (!top->deps[i].op->done && !top->deps[i].op->due)
                push(&stack, &count, &capacity, top->deps[i].op);
    }
    free(stack);
}

struct wb_op *wb_op_next_ready(struct ph_wb *wb)
{
    while (wb->ready_first != NULL) {
        struct wb_op *op = wb->ready_first;
        wb->ready_first = op->queue_next;
        if (wb->ready_first == NULL)
            wb->ready_last = NULL;
        op->queued = false;
        if (!op->done && !op->sent && op->blockers == 0)
            return op;
    }
    return NULL;
}

void wb_op_stall(struct ph_wb *wb, struct wb_op *op)
{
    op->queued = true;
    op->queue_next = wb->stalled;
    wb->stalled = op;
}

void wb_op_unstall(struct ph_wb *wb)
{
    while (wb->stalled != NULL) {
        struct wb_op *op = wb->stalled;
        wb->stalled = op->queue_next;
        op->queued = false;
        ready(wb, op);
    }
}

void wb_op_wait(struct wb_op *op, struct ph_wb_call *call)
{
    struct wb_waiter *waiter = wb_alloc(sizeof(*waiter));
    waiter->call = call;
    waiter->next = op->waiters;
    op->waiters = waiter;
    call->waiting++;
}

static void take_from(struct wb_object *o, const struct wb_op *op)
{
    for (size_t i = 0; i < o->op_count; i++) {
        if (o->ops[i] == op) {
            memmove(&o->ops[i], &o->ops[i + 1], (o->op_count - i - 1) * sizeof(o->ops[0]));
            o->op_count--;
            return;
        }
    }
}

static void leave_directory(struct ph_wb *wb, struct wb_op *op, int which)
{
    struct wb_child *child = &op->dirs[which];
    struct wb_object *directory = child->directory;
    if (directory == NULL)
        return;
    child->next->previous = child->previous;
    child->previous->next = child->next;
    child->directory = NULL;
    struct ph_wb_name *entry = directory->names != NULL
                                   ? ph_wb_names_find(directory->names, op->names[which], op->lens[which])
                                   : NULL;
    if (entry != NULL && entry->op == op) {
        entry->op = NULL;
        /* Without the lease nothing is known of names but what is under way. */
        if (!directory->exclusive)
            ph_wb_names_remove(directory->names, entry);
    }
    wb_unpin(wb, directory);
}

/* Dead queue members are skipped when met; a queue must not hold what may be freed. */
static void leave_queues(struct ph_wb *wb, struct wb_op *op)
{
    struct wb_op **at = &wb->ready_first, *previous = NULL;
    if (!op->queued)
        return;
    while (*at != NULL && *at != op) {
        previous = *at;
        at = &(*at)->queue_next;
    }
    if (*at == op) {
        *at = op->queue_next;
        if (wb->ready_last == op)
            wb->ready_last = previous;
    } else {
        for (at = &wb->stalled; *at != NULL; at = &(*at)->queue_next) {
            if (*at == op) {
                *at = op->queue_next;
                break;
            }
        }
    }
    op->queued = false;
}

static void leave_log(struct ph_wb *wb, struct wb_op *op)
{
    if (op->previous != NULL)
        op->previous->next = op->next;
    else
        wb->first = op->next;
    if (op->next != NULL)
        op->next->previous = op->previous;
    else
        wb->last = op->previous;
    wb->op_count--;
}

void wb_op_forget_waiters(struct wb_op *op)
{
    while (op->waiters != NULL) {
        struct wb_waiter *next = op->waiters->next;
        free(op->waiters);
        op->waiters = next;
    }
}

static void wake(struct wb_op *op, uint32_t status, struct ph_wb_call **resume)
{
    struct wb_waiter *waiter = op->waiters;
    op->waiters = NULL;
    while (waiter != NULL) {
        struct wb_waiter *next = waiter->next;
        struct ph_wb_call *call = waiter->call;
        if (call->status == 0)
            call->status = status;
        if (--call->waiting == 0) {
            call->throttled = *resume;
            *resume = call;
        }
        free(waiter);
        waiter = next;
    }
}

void wb_op_done(struct ph_wb *wb, struct wb_op *op, uint32_t status, struct ph_wb_call **resume)
{
    op->done = true;
    wb_discharge(wb, op);
    if (op->kind == WB_XATTR)
        wb_xattr_done(wb, op, status);
    if (op->kind == WB_RANGE)
        wb_range_op_done(wb, op);
    leave_queues(wb, op);
    leave_log(wb, op);
    for (size_t i = 0; i < op->dependent_count; i++) {
        struct wb_op *dependent = op->dependents[i];
        if (dependent == NULL)
            continue;
        dependent->blockers--;
        ready(wb, dependent);
        wb_op_unref(dependent);
    }
    op->dependent_count = 0;
    for (size_t i = 0; i < op->dep_count; i++)
        wb_op_unref(op->deps[i].op);
    op->dep_count = 0;
    for (int i = 0; i < 2; i++) {
        leave_directory(wb, op, i);
        if (op->objects[i] != NULL) {
            take_from(op->objects[i], op);
            wb_unpin(wb, op->objects[i]);
        }
        op->objects[i] = NULL;
    }
    wake(op, status, resume);
    wb_op_unref(op);
}

/* LATER waits for ON as well, whatever the number of what it waits for. */
static void inherit(struct ph_wb *wb, struct wb_op *later, struct wb_op *on)
{
    for (size_t i = 0; i < later->dep_count; i++)
        if (later->deps[i].op == on)
            return;
    wb_op_depend(later, on);
    if (later->due)
        wb_op_due(wb, on);
}

/* Nothing is left where something does not wait for ON any more; those that do are told where they are. */
static void close_up_dependents(struct wb_op *on)
{
    size_t to = 0;
    for (size_t from = 0; from < on->dependent_count; from++) {
        struct wb_op *dependent = on->dependents[from];
        if (dependent == NULL)
            continue;
        for (size_t i = 0; i < dependent->dep_count; i++)
            if (dependent->deps[i].op == on && dependent->deps[i].at == from)
                dependent->deps[i].at = to;
        on->dependents[to++] = dependent;
    }
    on->dependent_count = to;
    on->dependents_gone = 0;
}

/* OP does not wait for DEP any more. A directory may have thousands that wait for its making. */
static void leave_dependents(const struct wb_dep *dep, struct wb_op *op)
{
    struct wb_op *on = dep->op;
    on->dependents[dep->at] = NULL;
    on->dependents_gone++;
    if (on->dependents_gone > DEPENDENTS_GONE_MAX && on->dependents_gone > on->dependent_count / 2)
        close_up_dependents(on);
    wb_op_unref(op);
}

struct wb_op *wb_op_before_on_name(const struct wb_op *op, int which)
{
    for (size_t i = 0; i < op->dep_count; i++) {
        struct wb_op *on = op->deps[i].op;
        for (int j = 0; j < 2 && !on->done; j++)
            if (on->dirs[j].directory == op->dirs[which].directory && on->lens[j] == op->lens[which] &&
                memcmp(on->names[j], op->names[which], op->lens[which]) == 0)
                return on;
    }
    return NULL;
}

void wb_op_cancel(struct ph_wb *wb, struct wb_op *op, struct ph_wb_call **resume)
{
    for (int i = 0; i < 2; i++) {
        struct wb_object *d = op->dirs[i].directory;
        struct ph_wb_name *entry =
            d != NULL && d->names != NULL ? ph_wb_names_find(d->names, op->names[i], op->lens[i]) : NULL;
        struct wb_op *before = entry != NULL && entry->op == op ? wb_op_before_on_name(op, i) : NULL;
        if (before != NULL)
            entry->op = before;
    }
    for (size_t i = 0; i < op->dep_count; i++) {
        if (op->deps[i].op->done)
            continue;
        for (size_t j = 0; j < op->dependent_count; j++)
            if (op->dependents[j] != NULL)
                inherit(wb, op->dependents[j], op->deps[i].op);
        leave_dependents(&op->deps[i], op);
    }
    wb_op_done(wb, op, PH_ST_OK, resume);
}
