/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket: JSON-RPC 2.0, one request a line, on a UNIX stream socket. It knows no method:
 * whoever creates it brings tables of them. It knows who asks (SO_PEERCRED and the groups of that
 * moment), checks what they may and whether the parameters fit the method's schema; a method sees
 * only requests that passed.
 *
 * Thread rule: everything on the loop that it was created for; methods run there.
 */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "loop/loop.h"

#define CTL_REQUEST_MAX_BYTES (64u * 1024u) /* with its end; a longer line ends the connection */
#define CTL_CLIENTS_MAX 16u                 /* one more ends the one that is silent longest */
#define CTL_STRANGERS_MAX 4u                /* connections of those who may nothing */
#define CTL_CALLS_MAX 64u                   /* under way, those of clients that went included */
#define CTL_DEPTH_MAX 16u                   /* nesting of a request */

enum ctl_error {
	/* JSON-RPC 2.0 §5.1. */
	CTL_PARSE_ERROR = -32700,
	CTL_INVALID_REQUEST = -32600,
	CTL_METHOD_NOT_FOUND = -32601,
	CTL_INVALID_PARAMS = -32602,
	CTL_INTERNAL_ERROR = -32603,
	/* Ours. */
	CTL_FAILED = -32000,
	CTL_NEEDS_YES = -32001, /* would take something from somebody: say "yes":true */
	CTL_BUSY = -32002,
	CTL_NOT_PERMITTED = -32003,
	CTL_NO_OBJECT = -32004,
	CTL_EXISTS = -32005,
	CTL_CONFIG_ERRORS = -32006, /* data: a list of {file, line, column, text} */
};

/* Who asks. */
struct ctl_peer {
	uid_t uid;
	gid_t gid;
	pid_t pid;
	char user[64]; /* as in /etc/passwd, else "uid 1001" */
	bool may_read, may_change;
};

/* Why a call failed; `message` is one sentence for a person. */
struct ctl_failure {
	int code;
	char message[1024];
	json_t *data; /* taken; NULL: none */
};

enum ctl_type {
	CTL_STRING,
	CTL_INT,
	CTL_BOOL,
	CTL_LIST,
	CTL_OBJECT,
	CTL_ANY, /* null too */
};

struct ctl_param {
	const char *name;
	enum ctl_type type;
	bool required;
	const char *help;
};

struct ctl_call;

struct ctl_method {
	const char *name;
	const char *help;
	bool changes;                   /* needs may_change; otherwise may_read is enough */
	const struct ctl_param *params; /* ends with a row without name; NULL: takes none */

	/*
	 * Exactly one of the two. `params` is an object (empty when none were given) with known names
	 * only, all that are required and the types of the schema; null stands for "not given" except
	 * where the type is CTL_ANY. It is borrowed: by call() until it returns, by start() until
	 * the call is answered.
	 */

	/*
	 * Answers at once: the result, a new reference, or NULL with *failure filled (as it comes it
	 * says "out of memory").
	 */
	json_t *(*call)(void *ctx, const json_t *params, struct ctl_failure *failure);
	/* Answers later, or before it returns, by exactly one of the ctl_call_ functions below. */
	void (*start)(void *ctx, struct ctl_call *call, const json_t *params);
};

/* ---- a request under way ---------------------------------------------------------------- */

/*
 * Valid until it is answered, whatever happens meanwhile: the client may go, the server may be
 * destroyed. The answer is then dropped.
 */
const struct ctl_peer *ctl_call_peer(const struct ctl_call *call);
const char *ctl_call_method(const struct ctl_call *call);
/* True if nobody waits for the answer any more. What was begun is still to be completed. */
bool ctl_call_client_gone(const struct ctl_call *call);
/* Both end the call, also when there is no memory for the answer. Take `result`, `data`. */
void ctl_call_done(struct ctl_call *call, json_t *result);
void ctl_call_fail(struct ctl_call *call, int code, json_t *data, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/*
 * A big answer is made by a helper thread, so that this loop's other users don't wait for it: `build`
 * runs there and returns the result, a new reference, or NULL without memory; what it looks at nobody
 * changes meanwhile. Then, on the loop, `built` lets go of that (it may free the ctl_build), and the
 * call ends. Embedded in what the caller allocates; must stay until `built`.
 */
struct ctl_build {
	json_t *(*build)(struct ctl_build *b);
	void (*built)(struct ctl_build *b);
	/* private */
	struct loop_job job;
	struct ctl_call *call;
	bool wanted;
	char *text;
};
void ctl_call_build(struct ctl_call *call, struct loop *l, struct ctl_build *b);

/* ---- the server --------------------------------------------------------------------------- */

struct ctl_server;

struct ctl_server_args {
	const char *path;                       /* borrowed during create */
	const struct ctl_method *const *tables; /* ends with NULL, each table with a row without
	                                           name; borrowed */
	void *ctx;                              /* of all methods */
	/* Who may change, who may read; NULL: "terrace", "terrace-ro". Borrowed. */
	const char *change_group, *read_group;
};

/*
 * Listens at `path`; a socket there that nobody listens on is replaced. "methods" (the list of what
 * there is, with parameters) is built in. Started by root everybody may connect (0666) and rights
 * come from who it is: root and the user that runs the server may change, members of change_group
 * too, those of read_group may read; anybody else is told which group to join. Otherwise the socket
 * is its owner's (0600). On failure `reason` holds one sentence. 0, -EADDRINUSE (somebody listens
 * there), -EEXIST (no socket is there), -EINVAL (an empty path), -ENAMETOOLONG, -ENOMEM, or what
 * bind says.
 */
int ctl_server_create(struct loop *l, const struct ctl_server_args *args, struct ctl_server **ret,
    char *reason, size_t reason_cap);
/* Ends all clients, removes the socket. Calls under way stay valid. Accepts NULL. */
void ctl_server_destroy(struct ctl_server *s);

/*
 * One request as bytes → one answer as a string to be freed, or NULL for a notification. Pure:
 * hostile input only leads to error answers. A method that doesn't answer before its start() returns
 * is answered for with an error; its call stays valid. For fuzzing and tests.
 */
char *ctl_handle(const struct ctl_method *const *tables, void *ctx, const struct ctl_peer *peer,
    const char *line, size_t len);
/* An error answer to nobody's request, as of ctl_handle(). */
char *ctl_error_text(int code, const char *message);

/* Any bytes as a JSON string: what isn't UTF-8 (a file name may be anything) becomes U+FFFD. */
json_t *ctl_string(const char *s);

#endif
