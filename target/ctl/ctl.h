/*
 * The control socket: JSON-RPC 2.0, one request a line, on a UNIX stream socket. It knows no method:
 * whoever creates it brings a table. Access is by the socket's permissions (0660, group `terrace`
 * where there is one).
 *
 * Thread rule: everything on the loop that it was created for; methods run there and answer at once.
 */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <jansson.h>
#include <stddef.h>

#include "loop/loop.h"

#define CTL_REQUEST_MAX_BYTES (64u * 1024u) /* with its end; a longer line ends the connection */
#define CTL_CLIENTS_MAX 16u                 /* one more ends the one that is silent longest */
#define CTL_DEPTH_MAX 16u                   /* nesting of a request */

/* JSON-RPC 2.0 §5.1. */
enum ctl_error {
	CTL_PARSE_ERROR = -32700,
	CTL_INVALID_REQUEST = -32600,
	CTL_METHOD_NOT_FOUND = -32601,
	CTL_INVALID_PARAMS = -32602,
	CTL_INTERNAL_ERROR = -32603,
};

/* Why a call failed; `message` is one sentence for a person. */
struct ctl_failure {
	int code;
	char message[256];
};

struct ctl_method {
	const char *name;
	const char *help;
	/*
	 * `params` is an object (empty when none were given), borrowed. The result, a new reference,
	 * or NULL with *failure filled.
	 */
	json_t *(*call)(void *ctx, const json_t *params, struct ctl_failure *failure);
};

struct ctl_server;

/*
 * Listens at `path`; a socket there that nobody listens on is replaced. `methods` ends with a row
 * whose name is NULL and is borrowed; "methods" (the list with help) is built in. On failure `reason`
 * holds one sentence. 0, -EADDRINUSE (somebody listens there), -EEXIST (no socket is there), -EINVAL
 * (an empty path), -ENAMETOOLONG, -ENOMEM, or what bind says.
 */
int ctl_server_create(struct loop *l, const char *path, const struct ctl_method *methods, void *ctx,
    struct ctl_server **ret, char *reason, size_t reason_cap);
/* Ends all clients, removes the socket. Accepts NULL. */
void ctl_server_destroy(struct ctl_server *s);

/*
 * One request as bytes → one answer as a string to be freed, or NULL for a notification. Pure:
 * hostile input only leads to error answers. For the server and for fuzzing.
 */
char *ctl_handle(const struct ctl_method *methods, void *ctx, const char *line, size_t len);
/* An error answer to nobody's request, as of ctl_handle(). */
char *ctl_error_text(int code, const char *message);

/* Any bytes as a JSON string: what isn't UTF-8 (a file name may be anything) becomes U+FFFD. */
json_t *ctl_string(const char *s);

#endif
