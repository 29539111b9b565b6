/* What the files of conf/ share: sources and their order, the lexer, the schema, value checks. */
#ifndef CONF_CONF_PRIV_H
#define CONF_CONF_PRIV_H

#include "conf/conf.h"

#include <sys/types.h>

/* ---- bounds; what is over them is an error, not a crash -------------------------------------- */

#define CONF_DEPTH_MAX 16u                 /* blocks in blocks */
#define CONF_FILE_MAX_BYTES (1024u * 1024u)
#define CONF_TOTAL_MAX_BYTES (16u * 1024u * 1024u)
#define CONF_SOURCES_MAX 1024u             /* files, each inclusion counts */
#define CONF_INCLUDE_DEPTH_MAX 8u
#define CONF_NODES_MAX 65536u
#define CONF_WORDS_MAX 262144u
#define CONF_WORD_MAX_BYTES 4096u

/* ---- tree and sources ------------------------------------------------------------------------ */

/* One reading of one file. A file that is included twice is two of them. */
struct conf_source {
	char *path;                 /* what conf_pos.file points to: identifies the source */
	struct conf_source *parent; /* NULL: the first one */
	struct conf_pos include_pos;
	unsigned depth;             /* of inclusion */
	char *text;                 /* own copy, while it is parsed; wiped afterwards */
	size_t text_len;
	bool is_file;               /* dev, ino and mode are known */
	dev_t dev;
	ino_t ino;
	mode_t mode;
};

struct conf_tree {
	struct conf_node root; /* no words; its children are the statements */
	struct conf_source **sources;
	unsigned source_count;
	size_t total_bytes;
	unsigned node_count, word_count;
};

/* NULL: the position is of no source of the tree. */
const struct conf_source *conf_tree_source(const struct conf_tree *t, const struct conf_pos *pos);
/* Orders the errors as a reader meets them: an included file's stand where it is included. */
void conf_errors_sort(struct conf_errors *e, const struct conf_tree *t);

/* ---- source.c -------------------------------------------------------------------------------- */

/* New source with a copy of the text; owned by the tree. 0, -ENOMEM. */
int conf_source_add(struct conf_tree *t, const char *path, const char *text, size_t len,
    struct conf_source **ret);
/*
 * Reads a regular file. 0, -ENOMEM, or -EINVAL with an error at `at` (the include statement; NULL:
 * the file itself, a source without text is added then, so that the position has a name).
 */
int conf_source_read(struct conf_tree *t, const char *path, const struct conf_pos *at,
    struct conf_errors *errors, struct conf_source **ret);
/* Reports bytes that no configuration has (control characters, broken UTF-8) and blanks them. */
void conf_source_check_bytes(struct conf_source *s, struct conf_errors *errors);
/* Text may hold secrets: overwritten before it is freed. */
void conf_source_drop_text(struct conf_source *s);
/* `path`, seen from the folder of `from`. NULL: no memory. */
char *conf_path_from(const char *from, const char *path);
/* Overwrites, then frees; accepts NULL. */
void conf_wipe(char *s);

/* ---- lex.c ------------------------------------------------------------------------------------ */

enum conf_token_kind {
	CONF_TOKEN_WORD,
	CONF_TOKEN_OPEN,
	CONF_TOKEN_CLOSE,
	CONF_TOKEN_SEMICOLON,
	CONF_TOKEN_LINE_END,
	CONF_TOKEN_END,
};

struct conf_token {
	enum conf_token_kind kind;
	struct conf_pos pos;
	char *word; /* WORD: the caller's to free */
};

struct conf_lexer {
	struct conf_errors *errors;
	const char *file, *at, *end;
	unsigned line, column;
};

void conf_lexer_init(
    struct conf_lexer *l, const struct conf_source *s, struct conf_errors *errors);
/* 0 or -ENOMEM. */
int conf_lex(struct conf_lexer *l, struct conf_token *ret);

#endif
