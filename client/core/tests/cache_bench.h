/* A cache under test, and replies made by hand. */
#ifndef PH_CLIENT_CORE_TESTS_CACHE_BENCH_H
#define PH_CLIENT_CORE_TESTS_CACHE_BENCH_H

#include "client/core/cache.h"

enum { HOME = 10, FILE_ID = 20, OTHER = 30, TTL = 60000, FULL = 57800, SHARED = 1, EXCLUSIVE = 2 };

/* HOME is a directory that the kernel holds; what has a smaller id is one, too. */
struct bench {
    struct ph_cache *cache;
    struct ph_cache_work work;
    struct ph_cached_attr attr;
    uint64_t entry_ms, attr_ms;
};

/* An open session; the server WATCHED or not. */
void set_up_with(struct bench *b, bool watched);
void set_up(struct bench *b);

/* Attributes of OBJECT in a reply to ASK that comes at once; what may be kept. */
uint64_t learn_mode(struct bench *b, struct ph_cache_ask ask, uint64_t object, uint64_t version,
                    uint64_t lease, uint32_t mode);
uint64_t learn(struct bench *b, struct ph_cache_ask ask, uint64_t object, uint64_t version, uint64_t lease);

/* NAME in HOME, likewise. */
uint64_t entry(struct bench *b, struct ph_cache_ask ask, uint64_t lease, const char *name, uint64_t object);

/* Whether attributes are answered; what a lookup in HOME comes to. */
bool served(struct bench *b, uint64_t object, uint64_t now);
enum ph_cache_found look(struct bench *b, const char *name, uint64_t now);

/* The next work must be the release of exactly LEASE, and all there is; or the drop of OBJECT. */
void expect_release(struct bench *b, uint64_t lease);
void expect_drop(struct bench *b, uint64_t object, uint64_t lease);

#endif
