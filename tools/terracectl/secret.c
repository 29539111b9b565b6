/* SPDX-License-Identifier: BSD-2-Clause */
/* Secrets come from a terminal or a file, never from the command line; nothing of them is printed. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/terracectl/terracectl.h"

#define SECRET_MAX 1024u

static void
forget(char *s)
{
	if (s != NULL)
		explicit_bzero(s, strlen(s));
	free(s);
}

/*
 * The next line, to be forgotten; NULL: status in *ret_exit. Byte by byte: of what comes from a pipe
 * the rest may be another secret.
 */
static char *
read_secret(const struct tool *t, int fd, const char *name, int *ret_exit)
{
	char buf[SECRET_MAX + 1];
	size_t len = 0;

	while (len < sizeof buf && read(fd, buf + len, 1) == 1 && buf[len] != '\n')
		len++;
	while (len > 0 && len < sizeof buf && buf[len - 1] == '\r')
		len--;
	bool fits = len > 0 && len <= SECRET_MAX && memchr(buf, '\0', len) == NULL;
	char *secret = fits ? strndup(buf, len) : NULL;
	explicit_bzero(buf, sizeof buf);
	if (secret == NULL)
		*ret_exit = tool_error(t, TOOL_FAILED,
		    "%s: a secret is a line of 1 to %u bytes, and there is none", name, SECRET_MAX);
	return secret;
}

static char *
secret_of_file(const struct tool *t, const char *path, int *ret_exit)
{
	struct stat st;

	if (strcmp(path, "-") == 0)
		return read_secret(t, STDIN_FILENO, "standard input", ret_exit);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0) {
		*ret_exit = tool_error(t, TOOL_FAILED, "can't read %s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	char *secret = NULL;
	if (S_ISREG(st.st_mode) && (st.st_mode & 07) != 0)
		*ret_exit = tool_error(t, TOOL_FAILED,
		    "%s can be read by every user of this machine: chmod 0600 it, and choose "
		    "another "
		    "secret",
		    path);
	else
		secret = read_secret(t, fd, path, ret_exit);
	close(fd);
	return secret;
}

static char *
secret_of_terminal(const struct tool *t, const char *what, const char *option, int *ret_exit)
{
	char prompt[128];

	if (!term_asks()) {
		*ret_exit = tool_error(t, TOOL_USAGE,
		    "%s is asked for on a terminal, and there is none: name a file with %s", what,
		    option);
		return NULL;
	}
	snprintf(prompt, sizeof prompt, "%s: ", what);
	char *first = term_secret(prompt);
	char *second = first != NULL ? term_secret("once more: ") : NULL;
	if (first != NULL && second != NULL && strcmp(first, second) == 0 && first[0] != '\0') {
		forget(second);
		return first;
	}
	*ret_exit = tool_error(t, TOOL_FAILED,
	    first == NULL || second == NULL ? "nothing was changed"
	    : first[0] == '\0'              ? "a secret isn't empty; nothing was changed"
	                                    : "these aren't the same; nothing was changed");
	forget(first);
	forget(second);
	return NULL;
}

/* Asks for or reads one, and puts it under `param`. */
static int
add_secret(const struct tool *t, const char *what, const char *option, const char *local,
    json_t *params, const char *param)
{
	const char *file = get_text(t->local, local);
	int status = TOOL_FAILED;

	char *secret = file[0] != '\0' ? secret_of_file(t, file, &status)
	                               : secret_of_terminal(t, what, option, &status);
	if (secret == NULL)
		return status;
	json_t *s = json_string(secret);
	forget(secret);
	if (s == NULL)
		return tool_error(t, TOOL_FAILED, "%s isn't UTF-8, which it has to be here", what);
	json_object_set_new(params, param, s);
	return TOOL_DONE;
}

static int
secrets_of_create(const struct tool *t, json_t *params)
{
	bool mutual = json_object_get(params, "mutual_user") != NULL;

	if (!mutual && json_object_get(t->local, "mutual_secret_file") != NULL)
		return tool_error(
		    t, TOOL_USAGE, "--mutual-secret-file is for --mutual-user, which is missing");
	if (!json_is_true(json_object_get(params, "discovery")) ==
	    (json_object_get(params, "target") == NULL))
		return tool_error(
		    t, TOOL_USAGE, "say what it is for: either --target IQN or --discovery");
	int status = add_secret(t, "secret", "--secret-file", "secret_file", params, "secret");
	if (status == TOOL_DONE && mutual)
		status = add_secret(t, "secret of the target", "--mutual-secret-file",
		    "mutual_secret_file", params, "mutual_secret");
	return status;
}

static int
secret_of_set(const struct tool *t, json_t *params)
{
	const char *key = get_text(params, "key");
	const json_t *value = json_object_get(params, "value");
	bool secret = strcmp(key, "secret") == 0 || strcmp(key, "mutual_secret") == 0;

	if (secret && json_is_null(value))
		return TOOL_DONE;
	if (secret && value != NULL)
		return tool_error(t, TOOL_USAGE,
		    "a secret on the command line can be seen by every user of this machine: it is "
		    "asked for on the terminal, or read with --secret-file");
	if (secret)
		return add_secret(t, key, "--secret-file", "secret_file", params, "value");
	if (json_object_get(t->local, "secret_file") != NULL)
		return tool_error(t, TOOL_USAGE, "--secret-file is for the key secret");
	if (value == NULL)
		return tool_error(t, TOOL_USAGE, "VALUE is missing: its value; or --default");
	return TOOL_DONE;
}

int
run_secret(struct tool *t, const struct verb *v, json_t *params)
{
	bool create = strcmp(v->words, "chap create") == 0;

	int status = create ? secrets_of_create(t, params) : secret_of_set(t, params);
	return status == TOOL_DONE ? tool_run(t, v, params) : status;
}
