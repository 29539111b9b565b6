/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The state directory: what the target itself remembers (identities, reservations), as against what
 * the administrator says. One daemon at a time, on the machine that it was made on.
 *
 * Blocking; before the loops run. On failure nothing in the directory has changed but its lock file.
 */
#ifndef DAEMON_STATEDIR_H
#define DAEMON_STATEDIR_H

#include <stddef.h>

struct statedir;

/* The directory came here from another machine for good: take it over. */
#define STATEDIR_MOVED (1u << 0)

struct statedir_args {
	/* NULL: /var/lib/terrace as root, else $XDG_STATE_HOME/terrace or ~/.local/state/terrace. */
	const char *dir;
	unsigned flags;
	const char *machine_id_file; /* NULL: /etc/machine-id; other files for tests */
};

/*
 * Makes the directory (0700) where there is none, locks it, checks whose it is. On failure `reason`
 * holds one sentence with the cure. 0; -EBUSY: another daemon has it (the pid is in `reason`);
 * -EXDEV: another machine's; -EPERM: its permissions let others in; -EINVAL: no directory can be
 * found out, or its marker is damaged; or what mkdir, open and write say.
 */
int statedir_open(
    const struct statedir_args *args, struct statedir **ret, char *reason, size_t reason_cap);
/* Unlocks. Accepts NULL. */
void statedir_close(struct statedir *s);

const char *statedir_path(const struct statedir *s);
/* "none" on a machine without one. */
const char *statedir_machine_id(const struct statedir *s);

#endif
