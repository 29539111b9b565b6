/* Views, targets and portals from the configuration; what is told to the person at the terminal. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/daemon.h"

/* ---- views --------------------------------------------------------------------------------------- */

static struct scsi_lu *
find_unit(const struct daemon *d, const char *name)
{
	for (unsigned i = 0; i < d->conf->lun_count; i++)
		if (strcmp(d->luns[i].conf->name, name) == 0)
			return d->luns[i].lu;
	return NULL;
}

static int
create_view(
    struct daemon *d, const struct conf_group_lun *luns, unsigned count, struct scsi_view **ret)
{
	struct scsi_view_entry *entries = calloc(count + 1, sizeof *entries);
	struct scsi_view **views = realloc(d->views, (d->view_count + 1) * sizeof *views);

	if (views != NULL)
		d->views = views;
	if (entries == NULL || views == NULL) {
		free(entries);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < count; i++) {
		entries[i].lun = (uint16_t)luns[i].number;
		entries[i].read_only = luns[i].read_only;
		entries[i].lu = find_unit(d, luns[i].lun);
		ASSERT(entries[i].lu != NULL); /* conf_build() checked the names */
	}
	int rc = scsi_view_create(d->core, entries, count, ret);
	free(entries);
	if (rc == 0)
		d->views[d->view_count++] = *ret;
	return rc;
}

/* ---- targets --------------------------------------------------------------------------------------- */

static unsigned
portal_tag(const struct daemon *d, const char *name)
{
	for (unsigned i = 0; i < d->conf->portal_count; i++)
		if (strcmp(d->conf->portals[i].name, name) == 0)
			return i + 1;
	ASSERT(false); /* conf_build() checked the names */
	return 0;
}

static void
chap_user(const struct conf_chap *c, struct iscsi_chap_user *u)
{
	*u = (struct iscsi_chap_user){
	    .name = c->user,
	    .secret = c->secret,
	    .secret_len = strlen(c->secret),
	    .mutual_name = c->mutual_user,
	    .mutual_secret = c->mutual_secret,
	    .mutual_secret_len = c->mutual_secret != NULL ? strlen(c->mutual_secret) : 0,
	};
}

/* CHAP users are named by their object in the configuration, by their CHAP name in the protocol. */
static const char *
chap_name(const struct conf_target *t, const char *object)
{
	for (unsigned i = 0; i < t->chap_count; i++)
		if (strcmp(t->chaps[i].name, object) == 0)
			return t->chaps[i].user;
	ASSERT(false); /* conf_build() checked the names */
	return NULL;
}

static int
fill_groups(struct daemon *d, const struct conf_target *t, struct iscsi_group_args *groups,
    const char ***user_lists)
{
	for (unsigned i = 0; i < t->group_count; i++) {
		const struct conf_group *g = &t->groups[i];
		struct scsi_view *view;
		int rc = create_view(d, g->luns, g->lun_count, &view);
		if (rc < 0)
			return rc;
		user_lists[i] = calloc(g->user_count + 1, sizeof *user_lists[i]);
		if (user_lists[i] == NULL)
			return -ENOMEM;
		for (unsigned u = 0; u < g->user_count; u++)
			user_lists[i][u] = chap_name(t, g->users[u]);
		groups[i] = (struct iscsi_group_args){
		    .name = g->name,
		    .initiators = (const char *const *)g->initiators,
		    .initiator_count = g->initiator_count,
		    .users = user_lists[i],
		    .user_count = g->user_count,
		    .view = view,
		};
	}
	return 0;
}

/* Relative port identifiers are unique in the process: target i has i × 64 + 1 and so on. */
#define PORTS_PER_TARGET 64u

static int
add_ports(struct daemon *d, const struct conf_target *t, uint16_t base, const uint16_t *tags)
{
	for (unsigned i = 0; i < t->portal_count; i++) {
		char name[ISCSI_NAME_MAX + 16];
		snprintf(name, sizeof name, "%s,t,0x%04x", t->name, tags[i]);
		int rc = scsi_core_add_port(d->core, (uint16_t)(base + i), tags[i], t->name, name);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
create_target(struct daemon *d, unsigned idx)
{
	const struct conf_target *t = &d->conf->targets[idx];
	uint16_t base = (uint16_t)(idx * PORTS_PER_TARGET + 1), tags[PORTS_PER_TARGET];
	struct iscsi_chap_user *users = calloc(t->chap_count + 1, sizeof *users);
	struct iscsi_group_args *groups = calloc(t->group_count + 1, sizeof *groups);
	const char ***user_lists = calloc(t->group_count + 1, sizeof *user_lists);
	struct scsi_view *open_view = NULL;
	int rc = -ENOMEM;

	if (users == NULL || groups == NULL || user_lists == NULL)
		goto out;
	if (t->portal_count > PORTS_PER_TARGET) {
		snprintf(d->reason, sizeof d->reason, "target %s: at most %u portals", t->name,
		    PORTS_PER_TARGET);
		rc = -EINVAL;
		goto out;
	}
	for (unsigned i = 0; i < t->portal_count; i++)
		tags[i] = (uint16_t)portal_tag(d, t->portals[i]);
	for (unsigned i = 0; i < t->chap_count; i++)
		chap_user(&t->chaps[i], &users[i]);
	rc = fill_groups(d, t, groups, user_lists);
	if (rc == 0 && t->open)
		rc = create_view(d, t->luns, t->lun_count, &open_view);
	if (rc == 0)
		rc = add_ports(d, t, base, tags);
	if (rc < 0)
		goto out;
	struct iscsi_target_args args = {
	    .name = t->name,
	    .alias = t->alias,
	    .rel_port_base = base,
	    .users = users,
	    .user_count = t->chap_count,
	    .groups = groups,
	    .group_count = t->group_count,
	    .open_view = open_view,
	    .allow = (const char *const *)t->allow,
	    .allow_count = t->allow_count,
	    .deny = (const char *const *)t->deny,
	    .deny_count = t->deny_count,
	    .portal_tags = tags,
	    .portal_tag_count = t->portal_count,
	};
	iscsi_offer_default(&args.offer);
	if (t->header_digest_required)
		args.offer.header_digest = 2;
	if (t->data_digest_required)
		args.offer.data_digest = 2;
	rc = iscsi_config_add_target(d->iscsi_config, &args, d->reason, sizeof d->reason);
out:
	for (unsigned i = 0; user_lists != NULL && i < t->group_count; i++)
		free(user_lists[i]);
	free(user_lists);
	free(groups);
	free(users);
	return rc;
}

static int
create_discovery(struct daemon *d)
{
	for (unsigned i = 0; i < d->conf->discovery_chap_count; i++) {
		struct iscsi_chap_user u;
		chap_user(&d->conf->discovery_chaps[i], &u);
		int rc = iscsi_config_add_discovery_user(
		    d->iscsi_config, &u, d->reason, sizeof d->reason);
		if (rc < 0)
			return rc;
	}
	return iscsi_config_set_access(d->iscsi_config, (const char *const *)d->conf->allow,
	    d->conf->allow_count, (const char *const *)d->conf->deny, d->conf->deny_count,
	    d->reason, sizeof d->reason);
}

static void
on_iscsi_event(void *ctx, const struct iscsi_event *e)
{
	(void)ctx;
	const char *user = e->user[0] != '\0' ? e->user : "-";
	switch (e->kind) {
	case ISCSI_EVENT_LOGIN:
		log_info("iscsi", "login initiator=%s target=%s address=%s user=%s session=%u",
		    e->initiator, e->target, e->address, user, e->tsih);
		break;
	case ISCSI_EVENT_LOGOUT:
		log_info("iscsi",
		    "logout initiator=%s target=%s address=%s session=%u reason=\"%s\"",
		    e->initiator, e->target, e->address, e->tsih, e->reason);
		break;
	case ISCSI_EVENT_DROPPED:
		log_warn("iscsi",
		    "session lost initiator=%s target=%s address=%s session=%u reason=\"%s\"",
		    e->initiator, e->target, e->address, e->tsih, e->reason);
		break;
	case ISCSI_EVENT_REFUSED: {
		static struct log_limit limit;
		uint32_t suppressed;
		if (log_limit_ok(&limit, loop_now_ns(loop_current()), &suppressed))
			log_warn("iscsi",
			    "login refused initiator=%s target=%s address=%s status=%04x "
			    "reason=\"%s\" "
			    "suppressed=%u",
			    e->initiator[0] != '\0' ? e->initiator : "?",
			    e->target[0] != '\0' ? e->target : "?", e->address, e->status,
			    e->reason, suppressed);
		break;
	}
	case ISCSI_EVENT_COUNT:
		break;
	}
}

/* Keys of `limits { … }` and where they go. */
/* clang-format off */
#define LIMIT(field) {#field, offsetof(struct iscsi_limits, field)}
/* clang-format on */
static const struct {
	const char *key;
	size_t offset;
} limit_fields[] = {
    LIMIT(login_timeout_ms),
    LIMIT(half_open_max),
    LIMIT(half_open_per_addr_max),
    LIMIT(sessions_max),
    LIMIT(sessions_per_initiator_max),
    LIMIT(sessions_per_addr_max),
    LIMIT(login_keys_max),
    LIMIT(login_text_max_bytes),
    LIMIT(chap_value_max_bytes),
    LIMIT(auth_failures_max),
    LIMIT(nop_data_max_bytes),
    LIMIT(ahs_max_bytes),
    LIMIT(immediate_max),
    LIMIT(tmf_max),
    LIMIT(depth_max),
    LIMIT(send_queue_max_bytes),
    LIMIT(send_stall_ms),
    LIMIT(nop_interval_ms),
    LIMIT(nop_timeout_ms),
};
#define LIMIT_COUNT (sizeof limit_fields / sizeof limit_fields[0])
_Static_assert(LIMIT_COUNT * sizeof(uint32_t) == sizeof(struct iscsi_limits), "a key each");

void
daemon_limits(const struct conf *conf, struct iscsi_limits *ret)
{
	unsigned found = 0;

	iscsi_limits_default(ret);
	for (size_t i = 0; i < LIMIT_COUNT; i++) {
		uint64_t value;
		if (!conf_get_limit(conf, limit_fields[i].key, &value))
			continue;
		ASSERT(value <= UINT32_MAX); /* conf_build() checked the ranges */
		uint32_t value32 = (uint32_t)value;
		memcpy((char *)ret + limit_fields[i].offset, &value32, sizeof value32);
		found++;
	}
	ASSERT(found == conf->limit_count); /* each key of the configuration is in the table */
}

int
daemon_create_targets(void *ctx)
{
	struct daemon *d = ctx;
	int rc = iscsi_config_create(&d->iscsi_config);

	for (unsigned i = 0; rc == 0 && i < d->conf->target_count; i++)
		rc = create_target(d, i);
	if (rc == 0)
		rc = create_discovery(d);
	if (rc == 0) {
		struct iscsi_server_args args = {
		    .core = d->core,
		    .loops = d->loops,
		    .loop_count = d->loop_count,
		    .config = d->iscsi_config,
		    .event = on_iscsi_event,
		    .event_ctx = d,
		};
		daemon_limits(d->conf, &args.limits);
		rc = iscsi_server_create(&args, &d->iscsi);
	}
	if (rc < 0)
		daemon_destroy_targets(d);
	return rc;
}

void
daemon_destroy_targets(void *ctx)
{
	struct daemon *d = ctx;
	iscsi_server_destroy(d->iscsi);
	d->iscsi = NULL;
	iscsi_config_destroy(d->iscsi_config);
	d->iscsi_config = NULL;
	daemon_destroy_views(d);
}

void
daemon_destroy_views(struct daemon *d)
{
	for (unsigned i = 0; i < d->view_count; i++)
		scsi_view_destroy(d->views[i]);
	free(d->views);
	d->views = NULL;
	d->view_count = 0;
}

#define LISTEN_TRIES 30u
#define LISTEN_RETRY_US 100000u

/* ---- portals ----------------------------------------------------------------------------------------- */

/* "ADDR:PORT", "[ADDR6]:PORT", "ADDR", "[ADDR6]", ":PORT" is refused: say which address. */
static int
resolve(const char *text, struct addrinfo **ret, char *port, size_t port_cap)
{
	char host[256];
	const char *p = NULL;

	if (text[0] == '[') {
		const char *close = strchr(text, ']');
		if (close == NULL || (size_t)(close - text) > sizeof host)
			return -EINVAL;
		memcpy(host, text + 1, (size_t)(close - text - 1));
		host[close - text - 1] = '\0';
		if (close[1] == ':')
			p = close + 2;
		else if (close[1] != '\0')
			return -EINVAL;
	} else {
		const char *colon = strrchr(text, ':');
		size_t len = colon != NULL ? (size_t)(colon - text) : strlen(text);
		if (len == 0 || len >= sizeof host)
			return -EINVAL;
		memcpy(host, text, len);
		host[len] = '\0';
		p = colon != NULL ? colon + 1 : NULL;
	}
	if (p == NULL)
		snprintf(port, port_cap, "%u", ISCSI_PORT_DEFAULT);
	else
		snprintf(port, port_cap, "%s", p);
	struct addrinfo hints = {
	    .ai_socktype = SOCK_STREAM,
	    .ai_flags = AI_NUMERICSERV | AI_PASSIVE,
	};
	return getaddrinfo(host, port, &hints, ret) == 0 ? 0 : -EINVAL;
}

/*
 * Listens. A process that was killed may keep its port for a moment, until the kernel has ended its
 * requests: while the port is taken and nobody has it, it's tried again.
 */
static int
listen_on(struct daemon *d, const struct addrinfo *ai, const char *port, uint16_t tag)
{
	for (unsigned tries = 0;; tries++) {
		char holder[96];
		int rc = iscsi_server_listen(d->iscsi, ai->ai_addr, ai->ai_addrlen, tag);
		if (rc != -EADDRINUSE || tries == LISTEN_TRIES)
			return rc;
		holder_of_port((unsigned)atoi(port), holder, sizeof holder);
		if (holder[0] != '\0')
			return rc;
		usleep(LISTEN_RETRY_US);
	}
}

static void
listen_failed(struct daemon *d, const char *text, const char *port, int rc)
{
	char holder[96] = "";

	if (rc == -EADDRINUSE)
		holder_of_port((unsigned)atoi(port), holder, sizeof holder);
	if (rc == -EADDRINUSE && holder[0] != '\0')
		snprintf(d->reason, sizeof d->reason,
		    "port %s is in use by %s: stop that, or choose another port with --listen",
		    port, holder);
	else if (rc == -EADDRINUSE)
		snprintf(d->reason, sizeof d->reason,
		    "port %s is in use: choose another one with --listen", port);
	else if (rc == -EADDRNOTAVAIL)
		snprintf(d->reason, sizeof d->reason,
		    "%s is no address of this machine ('ip address' lists them)", text);
	else if (rc == -EACCES)
		snprintf(d->reason, sizeof d->reason,
		    "no permission to listen on %s: ports below 1024 need root or "
		    "CAP_NET_BIND_SERVICE",
		    text);
	else
		snprintf(
		    d->reason, sizeof d->reason, "can't listen on %s: %s", text, strerror(-rc));
}

int
daemon_listen(void *ctx)
{
	struct daemon *d = ctx;
	for (unsigned i = 0; i < d->conf->portal_count; i++) {
		const struct conf_portal *p = &d->conf->portals[i];
		for (unsigned k = 0; k < p->listen_count; k++) {
			struct addrinfo *ai;
			char port[16];
			int rc = resolve(p->listen[k], &ai, port, sizeof port);
			if (rc < 0) {
				snprintf(d->reason, sizeof d->reason,
				    "'%s' is no address to listen on: write 192.0.2.1:3260 or "
				    "[2001:db8::1]:3260",
				    p->listen[k]);
				return rc;
			}
			rc = listen_on(d, ai, port, (uint16_t)(i + 1));
			freeaddrinfo(ai);
			if (rc < 0) {
				listen_failed(d, p->listen[k], port, rc);
				return rc;
			}
		}
	}
	return 0;
}

/* ---- for people --------------------------------------------------------------------------------------- */

static void
format_portal(const struct sockaddr_storage *a, char *buf, size_t cap, bool *ret_loopback)
{
	char host[INET6_ADDRSTRLEN];
	if (a->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)a;
		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
		snprintf(buf, cap, "[%s]:%u", host, ntohs(in6->sin6_port));
		*ret_loopback = IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
	} else {
		const struct sockaddr_in *in = (const struct sockaddr_in *)a;
		inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
		snprintf(buf, cap, "%s:%u", host, ntohs(in->sin_port));
		*ret_loopback = (ntohl(in->sin_addr.s_addr) >> 24) == 127;
	}
}

static void
announce_luns(const struct daemon *d)
{
	for (unsigned i = 0; i < d->conf->lun_count; i++) {
		const struct daemon_lun *l = &d->luns[i];
		char size[32];
		text_format_size(blk_get_info(l->blk)->size_bytes, size, sizeof size);
		printf("  %-12s %9s  %-12s %s%s\n", l->conf->name, size,
		    l->conf->mode == CONF_MODE_VOLATILE ? "volatile" : "writethrough",
		    daemon_is_memory(l->conf->store) ? l->conf->store : l->canonical,
		    l->conf->read_only ? " (read-only)" : "");
	}
}

void
daemon_announce(const struct daemon *d)
{
	struct sockaddr_storage addr;
	char portal[80];
	bool loopback = false;

	printf("terrace " TERRACE_VERSION ": serving %u LUN%s\n", d->conf->lun_count,
	    d->conf->lun_count == 1 ? "" : "s");
	announce_luns(d);
	for (unsigned t = 0; t < d->conf->target_count; t++) {
		const struct conf_target *target = &d->conf->targets[t];
		printf("target %s\n", target->name);
		for (unsigned i = 0; iscsi_server_portal(d->iscsi, i, &addr); i++) {
			format_portal(&addr, portal, sizeof portal, &loopback);
			if (target->open && target->lun_count > 0)
				printf("  url     iscsi://%s/%s/%u\n", portal, target->name,
				    target->luns[0].number);
			printf("  linux   iscsiadm -m discovery -t sendtargets -p %s && "
			       "iscsiadm -m node -T %s -p %s --login\n",
			    portal, target->name, portal);
		}
		if (target->open && target->chap_count == 0 && loopback)
			puts("  note    without a password every local user can reach these LUNs; "
			     "--user NAME:SECRET asks for one");
		else if (target->open && target->chap_count == 0)
			puts("  note    every initiator that reaches this address is admitted");
	}
	fflush(stdout);
}
