/* Promises of decoding, validation and printing towards hostile bytes. */
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "ph_commands.h"
#include "ph_protocol.h"
#include "runtime/base/limits.h"

struct encoded {
    uint8_t *bytes;
    size_t len;
};

static struct encoded encode(const ProtobufCMessage *message)
{
    struct encoded out = {.len = ph_encoded_size(message)};
    out.bytes = g_malloc(out.len + 1);
    g_assert_cmpuint(ph_encode(message, out.bytes), ==, out.len);
    return out;
}

static ProtobufCBinaryData bytes(const char *text)
{
    return (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *) text};
}

/* A lookup of one name, for the tests to spoil. */
struct lookup {
    Pohmel__Caller caller;
    ProtobufCBinaryData names[2];
    Pohmel__LookupRequest request;
};

static void lookup_init(struct lookup *lookup)
{
    pohmel__caller__init(&lookup->caller);
    lookup->caller.uid = 1000;
    pohmel__lookup_request__init(&lookup->request);
    lookup->names[0] = bytes("dir");
    lookup->names[1] = bytes("file");
    lookup->request.caller = &lookup->caller;
    lookup->request.parent = 1;
    lookup->request.n_names = 2;
    lookup->request.names = lookup->names;
}

static void assert_refused(const ProtobufCMessage *message, const struct ph_message_rule *rule,
                           const char *words)
{
    struct ph_fault fault = {0};
    g_assert_cmpuint(ph_validate(message, rule, &fault), ==, PH_ST_MALFORMED);
    g_assert_cmpuint(fault.status, ==, PH_ST_MALFORMED);
    g_assert_cmpstr(fault.text, ==, words);
}

static void test_what_was_encoded_is_decoded(void)
{
    struct lookup lookup;
    lookup_init(&lookup);
    struct encoded wire = encode(&lookup.request.base);
    struct ph_arena *arena = ph_arena_new(PH_ARENA_BASE_BYTES);
    struct ph_fault fault = {0};
    Pohmel__LookupRequest *back =
        (Pohmel__LookupRequest *) ph_decode(&ph_rule_lookup_request, wire.bytes, wire.len, arena, &fault);
    g_assert_nonnull(back);
    g_assert_cmpuint(back->parent, ==, 1);
    g_assert_cmpuint(back->caller->uid, ==, 1000);
    g_assert_cmpmem(back->names[1].data, back->names[1].len, "file", 4);
    ph_arena_free(arena);
    g_free(wire.bytes);
}

static void test_every_truncation_is_refused_or_valid_but_never_read_beyond(void)
{
    struct lookup lookup;
    lookup_init(&lookup);
    struct encoded wire = encode(&lookup.request.base);
    for (size_t len = 0; len < wire.len; len++) {
        /* A copy of exactly that length, so that the sanitizer sees each step too far. */
        uint8_t *cut = g_memdup2(wire.bytes, len);
        struct ph_arena *arena = ph_arena_new(PH_ARENA_BASE_BYTES);
        struct ph_fault fault = {0};
        ProtobufCMessage *back = ph_decode(&ph_rule_lookup_request, cut, len, arena, &fault);
        g_assert_true(back != NULL || fault.status == PH_ST_MALFORMED);
        if (back == NULL)
            g_assert_cmpuint(strlen(fault.text), >, 0);
        ph_arena_free(arena);
        g_free(cut);
    }
    g_free(wire.bytes);
}

static void test_random_bytes_are_survived(void)
{
    struct ph_arena *arena = ph_arena_new(PH_ARENA_BASE_BYTES);
    size_t count;
    const struct ph_command_info *all = ph_commands(&count);
    for (int round = 0; round < 20000; round++) {
        uint8_t noise[64];
        size_t len = (size_t) g_test_rand_int_range(0, sizeof noise);
        for (size_t i = 0; i < len; i++)
            noise[i] = (uint8_t) (g_test_rand_int() >> (round % 8));
        struct ph_fault fault = {0};
        ph_arena_reset(arena, PH_ARENA_BASE_BYTES);
        const struct ph_message_rule *rule = all[(size_t) round % count].request;
        ProtobufCMessage *message = ph_decode(rule, noise, len, arena, &fault);
        char text[64];
        if (message != NULL)
            ph_print(message, rule, text, sizeof text);
    }
    ph_arena_free(arena);
}

/* 1 MiB of empty sub-messages becomes 84 MB with the allocator of the C library. */
static void test_amplification_stays_within_the_cap(void)
{
    size_t len = 1 << 20;
    uint8_t *bomb = g_malloc(len);
    for (size_t i = 0; i < len; i += 2) {
        bomb[i] = 1 << 3 | 2; /* TransactRequest.changes, empty */
        bomb[i + 1] = 0;
    }
    struct ph_arena *arena = ph_arena_new(PH_ARENA_CAP_BYTES);
    struct ph_fault fault = {0};
    g_assert_null(ph_decode(&ph_rule_transact_request, bomb, len, arena, &fault));
    g_assert_cmpuint(fault.status, ==, PH_ST_MALFORMED);
    g_assert_cmpuint(ph_arena_used(arena), <=, PH_ARENA_CAP_BYTES);
    ph_arena_free(arena);
    g_free(bomb);
}

static void assert_fits(const ProtobufCMessage *message, const struct ph_message_rule *rule)
{
    struct encoded wire = encode(message);
    size_t cap = PH_ARENA_BASE_BYTES + PH_ARENA_FACTOR * wire.len;
    struct ph_arena *arena = ph_arena_new(MIN(cap, PH_ARENA_CAP_BYTES));
    struct ph_fault fault = {0};
    g_assert_nonnull(ph_decode(rule, wire.bytes, wire.len, arena, &fault));
    ph_arena_free(arena);
    g_free(wire.bytes);
}

/* The worst for an arena is as many of the smallest parts as are allowed. */
static void test_every_valid_message_fits_its_arena(void)
{
    struct lookup lookup;
    lookup_init(&lookup);
    ProtobufCBinaryData names[2048];
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        names[i] = bytes("a");
    Pohmel__MkpathRequest mkpath = POHMEL__MKPATH_REQUEST__INIT;
    mkpath.caller = &lookup.caller;
    mkpath.parent = 1;
    mkpath.first_object = 2;
    mkpath.n_names = G_N_ELEMENTS(names);
    mkpath.names = names;
    assert_fits(&mkpath.base, &ph_rule_mkpath_request);
    Pohmel__Time moment = POHMEL__TIME__INIT;
    Pohmel__Attr attr = POHMEL__ATTR__INIT;
    attr.object = 1;
    attr.accessed = attr.modified = attr.changed = attr.created = &moment;
    Pohmel__DirEntry entry = POHMEL__DIR_ENTRY__INIT, *entries[1024];
    entry.name = names[0];
    entry.object = 1;
    for (size_t i = 0; i < G_N_ELEMENTS(entries); i++)
        entries[i] = &entry;
    Pohmel__ReaddirReply listing = POHMEL__READDIR_REPLY__INIT;
    listing.n_entries = G_N_ELEMENTS(entries);
    listing.entries = entries;
    assert_fits(&listing.base, &ph_rule_readdir_reply);
    entry.attr = &attr;
    assert_fits(&listing.base, &ph_rule_readdir_reply);
    Pohmel__RemoveRequest removal = POHMEL__REMOVE_REQUEST__INIT;
    removal.caller = &lookup.caller;
    removal.parent = 1;
    removal.name = names[0];
    Pohmel__Change change = POHMEL__CHANGE__INIT, *changes[256];
    change.command_case = POHMEL__CHANGE__COMMAND_REMOVE;
    change.remove = &removal;
    for (size_t i = 0; i < G_N_ELEMENTS(changes); i++)
        changes[i] = &change;
    Pohmel__TransactRequest transact = POHMEL__TRANSACT_REQUEST__INIT;
    transact.n_changes = G_N_ELEMENTS(changes);
    transact.changes = changes;
    assert_fits(&transact.base, &ph_rule_transact_request);
}

static void test_unknown_fields_are_allowed_and_charged(void)
{
    uint8_t wire[4 + 2 * 1000] = {1 << 3 | 0, 5}; /* IdsGrantRequest.count = 5 */
    size_t len = 2;
    for (; len + 2 <= sizeof wire; len += 2) {
        wire[len] = 15 << 3 | 0;
        wire[len + 1] = 1;
    }
    struct ph_fault fault = {0};
    struct ph_arena *roomy = ph_arena_new(PH_ARENA_CAP_BYTES);
    g_assert_nonnull(ph_decode(&ph_rule_ids_grant_request, wire, len, roomy, &fault));
    g_assert_cmpuint(ph_arena_used(roomy), >, 1000 * sizeof(ProtobufCMessageUnknownField));
    ph_arena_free(roomy);
    struct ph_arena *tight = ph_arena_new(4096);
    g_assert_null(ph_decode(&ph_rule_ids_grant_request, wire, len, tight, &fault));
    g_assert_cmpuint(fault.status, ==, PH_ST_MALFORMED);
    ph_arena_free(tight);
}

/* Written in two bytes it passes the decoder, which would write it in one and refuse that. */
static void test_field_zero_is_refused(void)
{
    static const uint8_t message[] = {0x80, 0x00, 0x02};
    struct ph_fault fault = {0};
    struct ph_arena *arena = ph_arena_new(PH_ARENA_BASE_BYTES);
    g_assert_null(ph_decode(&ph_rule_session_renew_request, message, sizeof message, arena, &fault));
    g_assert_cmpuint(fault.status, ==, PH_ST_MALFORMED);
    ph_arena_free(arena);
}

static void test_an_empty_message_may_be_decoded_from_nothing(void)
{
    struct ph_arena *arena = ph_arena_new(PH_ARENA_BASE_BYTES);
    struct ph_fault fault = {0};
    g_assert_nonnull(ph_decode(&ph_rule_session_close_request, NULL, 0, arena, &fault));
    ph_arena_free(arena);
}

static void test_names_that_are_none_are_refused(void)
{
    static const struct {
        const char *name;
        size_t len;
        const char *words;
    } cases[] = {
        {"", 0, "0 bytes are too few"},
        {".", 1, "\".\" and \"..\" are not names"},
        {"..", 2, "\".\" and \"..\" are not names"},
        {"a/b", 3, "contains a '/'"},
        {"a\0b", 3, "contains a NUL"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct lookup lookup;
        lookup_init(&lookup);
        lookup.names[1] = (ProtobufCBinaryData){.len = cases[i].len, .data = (uint8_t *) cases[i].name};
        g_autofree char *words = g_strdup_printf("LookupRequest.names[1]: %s", cases[i].words);
        assert_refused(&lookup.request.base, &ph_rule_lookup_request, words);
    }
    struct lookup lookup;
    lookup_init(&lookup);
    lookup.names[0] = bytes("...");
    g_assert_cmpuint(ph_validate(&lookup.request.base, &ph_rule_lookup_request, NULL), ==, 0);
    char longest[PH_NAME_MAX_BYTES + 1];
    memset(longest, 'n', sizeof longest);
    lookup.names[0] = (ProtobufCBinaryData){.len = PH_NAME_MAX_BYTES, .data = (uint8_t *) longest};
    g_assert_cmpuint(ph_validate(&lookup.request.base, &ph_rule_lookup_request, NULL), ==, 0);
    lookup.names[0].len++;
    assert_refused(&lookup.request.base, &ph_rule_lookup_request,
                   "LookupRequest.names[0]: 256 bytes are more than 255");
}

static void test_counts_are_limited_at_every_depth(void)
{
    struct lookup lookup;
    lookup_init(&lookup);
    lookup.request.n_names = 0;
    assert_refused(&lookup.request.base, &ph_rule_lookup_request, "LookupRequest.names: 0 are fewer than 1");
    lookup_init(&lookup);
    ProtobufCBinaryData many[65];
    for (size_t i = 0; i < G_N_ELEMENTS(many); i++)
        many[i] = bytes("n");
    lookup.request.names = many;
    lookup.request.n_names = 65;
    assert_refused(&lookup.request.base, &ph_rule_lookup_request, "LookupRequest.names: 65 are more than 64");
    lookup_init(&lookup);
    uint32_t groups[PH_GROUPS_MAX + 1] = {0};
    lookup.caller.groups = groups;
    lookup.caller.n_groups = PH_GROUPS_MAX + 1;
    assert_refused(&lookup.request.base, &ph_rule_lookup_request,
                   "LookupRequest.caller.groups: 1025 are more than 1024");
}

static void test_numbers_keep_to_their_range(void)
{
    struct lookup lookup;
    lookup_init(&lookup);
    lookup.request.parent = 0;
    assert_refused(&lookup.request.base, &ph_rule_lookup_request, "LookupRequest.parent: 0 is below 1");
    Pohmel__Time moment = POHMEL__TIME__INIT;
    moment.seconds = INT64_MIN;
    moment.nanoseconds = 999999999;
    g_assert_cmpuint(ph_validate(&moment.base, &ph_rule_time, NULL), ==, 0);
    moment.nanoseconds++;
    assert_refused(&moment.base, &ph_rule_time, "Time.nanoseconds: 1000000000 is above 999999999");
    Pohmel__AccessRequest access = POHMEL__ACCESS_REQUEST__INIT;
    access.caller = &lookup.caller;
    access.object = 1;
    access.mask = 7;
    g_assert_cmpuint(ph_validate(&access.base, &ph_rule_access_request, NULL), ==, 0);
    access.mask = 8;
    assert_refused(&access.base, &ph_rule_access_request, "AccessRequest.mask: 0x8 has bits besides 0x7");
}

static void test_required_members_must_be_there(void)
{
    struct lookup lookup;
    lookup_init(&lookup);
    lookup.request.caller = NULL;
    assert_refused(&lookup.request.base, &ph_rule_lookup_request, "LookupRequest.caller: is missing");
    Pohmel__Change change = POHMEL__CHANGE__INIT, *changes[] = {&change};
    Pohmel__TransactRequest request = POHMEL__TRANSACT_REQUEST__INIT;
    request.n_changes = 1;
    request.changes = changes;
    assert_refused(&request.base, &ph_rule_transact_request,
                   "TransactRequest.changes[0]: none of its members is set");
    Pohmel__MkdirRequest mkdir = POHMEL__MKDIR_REQUEST__INIT;
    change.command_case = POHMEL__CHANGE__COMMAND_MKDIR;
    change.mkdir = &mkdir;
    assert_refused(&request.base, &ph_rule_transact_request,
                   "TransactRequest.changes[0].mkdir.caller: is missing");
    Pohmel__ChangeResult result = POHMEL__CHANGE_RESULT__INIT;
    g_assert_cmpuint(ph_validate(&result.base, &ph_rule_change_result, NULL), ==, 0);
}

static void test_another_message_is_refused(void)
{
    struct lookup lookup;
    lookup_init(&lookup);
    assert_refused(&lookup.request.base, &ph_rule_mkdir_request,
                   "MkdirRequest: another message than expected");
}

static void test_a_message_is_printed_on_one_line(void)
{
    struct lookup lookup;
    lookup_init(&lookup);
    lookup.names[0] = bytes("a\"\n\xff");
    char text[256];
    size_t len = ph_print(&lookup.request.base, &ph_rule_lookup_request, text, sizeof text);
    g_assert_cmpstr(text, ==, "caller:{uid:1000} parent:1 names:[\"a\\\"\\x0a\\xff\" \"file\"]");
    g_assert_cmpuint(len, ==, strlen(text));
    Pohmel__Attr attr = POHMEL__ATTR__INIT;
    Pohmel__Time moment = POHMEL__TIME__INIT;
    moment.seconds = 1700000000;
    moment.nanoseconds = 42;
    attr.object = 17;
    attr.modified = &moment;
    ph_print(&attr.base, &ph_rule_attr, text, sizeof text);
    g_assert_cmpstr(text, ==, "object:17 modified:2023-11-14T22:13:20.000000042Z");
}

static void test_print_is_cut_where_there_is_no_room(void)
{
    struct lookup lookup;
    lookup_init(&lookup);
    char whole[256];
    size_t need = ph_print(&lookup.request.base, &ph_rule_lookup_request, whole, sizeof whole);
    for (size_t size = 0; size <= need + 1; size++) {
        char *text = g_malloc(size); /* of exactly that size, for the sanitizer */
        size_t len = ph_print(&lookup.request.base, &ph_rule_lookup_request, text, size);
        if (size > 0)
            g_assert_cmpuint(strlen(text), ==, len);
        if (size > need)
            g_assert_cmpstr(text, ==, whole);
        else if (size > 4)
            g_assert_true(g_str_has_suffix(text, "..."));
        g_free(text);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/codec/what-was-encoded-is-decoded", test_what_was_encoded_is_decoded);
    g_test_add_func("/codec/truncations", test_every_truncation_is_refused_or_valid_but_never_read_beyond);
    g_test_add_func("/codec/random-bytes-are-survived", test_random_bytes_are_survived);
    g_test_add_func("/codec/amplification-stays-within-the-cap", test_amplification_stays_within_the_cap);
    g_test_add_func("/codec/every-valid-message-fits-its-arena", test_every_valid_message_fits_its_arena);
    g_test_add_func("/codec/unknown-fields-are-allowed-and-charged",
                    test_unknown_fields_are_allowed_and_charged);
    g_test_add_func("/codec/field-zero-is-refused", test_field_zero_is_refused);
    g_test_add_func("/codec/empty-message-from-nothing", test_an_empty_message_may_be_decoded_from_nothing);
    g_test_add_func("/validate/names-that-are-none", test_names_that_are_none_are_refused);
    g_test_add_func("/validate/counts-at-every-depth", test_counts_are_limited_at_every_depth);
    g_test_add_func("/validate/numbers-keep-to-their-range", test_numbers_keep_to_their_range);
    g_test_add_func("/validate/required-members", test_required_members_must_be_there);
    g_test_add_func("/validate/another-message", test_another_message_is_refused);
    g_test_add_func("/print/one-line", test_a_message_is_printed_on_one_line);
    g_test_add_func("/print/cut", test_print_is_cut_where_there_is_no_room);
    return g_test_run();
}
