/* What a program says when it ends itself: a core that is out of memory calls abort(3), which says nothing.
 * docs/decisions/0023-what-fails.md. */
#ifndef PH_IO_LAST_WORDS_H
#define PH_IO_LAST_WORDS_H

/* From now on abort(3) writes a line to standard error first, which begins with PROGRAM (kept, not copied);
 * the process ends as it would have. To be called once, at the start. */
void ph_last_words(const char *program);

#endif
