/* SPDX-License-Identifier: BSD-2-Clause */
/* What is served, as the checks want it. */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "tools/doctor/doctor_priv.h"

#define FACTS_MAX (1u << 20) /* of a kind */

void
doctor_facts_init(struct doctor_facts *f, const char *root)
{
	*f = (struct doctor_facts){.root = root, .configuration = "", .probes = doctor_live_probes};
}

/* One more element, zeroed, or NULL. */
static void *
grow(struct doctor_facts *f, void *list, unsigned *count, size_t bytes, void **ret_list)
{
	char *p = NULL;

	if (*count < FACTS_MAX && (*count & (*count - 1)) != 0)
		p = list;
	else if (*count < FACTS_MAX)
		p = realloc(list, bytes * (*count == 0 ? 1 : 2u * *count));
	if (p == NULL) {
		f->failed = true;
		return NULL;
	}
	*ret_list = p;
	p += bytes * (*count)++;
	memset(p, 0, bytes);
	return p;
}
#define GROW(f, list, count)                                                                       \
	grow(f, (f)->list, &(f)->count, sizeof *(f)->list, (void **)(uintptr_t) & (f)->list)

static char *
copy(struct doctor_facts *f, const char *s)
{
	char *p = strdup(s != NULL ? s : "");
	f->failed |= p == NULL;
	return p;
}

void
doctor_add_lun(struct doctor_facts *f, const char *name, const char *store, const char *mode,
    const char *cache, const char *where)
{
	struct doctor_lun *x = GROW(f, luns, lun_count);
	if (x != NULL)
		*x = (struct doctor_lun){
		    copy(f, name), copy(f, store), copy(f, mode), copy(f, cache), copy(f, where)};
}

void
doctor_add_cache(struct doctor_facts *f, const char *name, const char *ssd, const char *where)
{
	struct doctor_cache *x = GROW(f, caches, cache_count);
	if (x != NULL)
		*x = (struct doctor_cache){copy(f, name), copy(f, ssd), copy(f, where)};
}

void
doctor_add_address(struct doctor_facts *f, const char *portal, const char *address, bool srp)
{
	struct doctor_address *x = GROW(f, addresses, address_count);
	if (x != NULL)
		*x = (struct doctor_address){copy(f, portal), copy(f, address), srp};
}

void
doctor_add_target(struct doctor_facts *f, const char *name, bool has_chap)
{
	struct doctor_target *x = GROW(f, targets, target_count);
	if (x != NULL)
		*x = (struct doctor_target){copy(f, name), has_chap};
}

void
doctor_add_chap(struct doctor_facts *f, const char *name, const char *target, const char *user,
    const char *secret, const char *mutual_secret)
{
	struct doctor_chap *x = GROW(f, chaps, chap_count);
	if (x != NULL)
		*x = (struct doctor_chap){copy(f, name), copy(f, target), copy(f, user),
		    copy(f, secret), copy(f, mutual_secret)};
}

void
doctor_add_viewer(
    struct doctor_facts *f, const char *lun, const char *initiator, bool writes, bool connected)
{
	struct doctor_viewer *x = GROW(f, viewers, viewer_count);
	if (x != NULL)
		*x = (struct doctor_viewer){copy(f, lun), copy(f, initiator), writes, connected};
}

void
doctor_add_interface(struct doctor_facts *f, const char *name, const char *address)
{
	struct doctor_interface *x = GROW(f, interfaces, interface_count);
	if (x != NULL)
		*x = (struct doctor_interface){copy(f, name), copy(f, address)};
}

void
doctor_add_trouble(struct doctor_facts *f, const char *where, const char *text, bool remark)
{
	struct doctor_trouble *x = GROW(f, troubles, trouble_count);
	if (x != NULL)
		*x = (struct doctor_trouble){copy(f, where), copy(f, text), remark};
}

void
doctor_add_interfaces(struct doctor_facts *f)
{
	struct ifaddrs *list = NULL;

	if (getifaddrs(&list) < 0)
		return;
	for (const struct ifaddrs *a = list; a != NULL; a = a->ifa_next) {
		char text[INET6_ADDRSTRLEN] = "";
		const void *bytes = NULL;
		if (a->ifa_addr == NULL)
			continue;
		if (a->ifa_addr->sa_family == AF_INET)
			bytes = &((const struct sockaddr_in *)(const void *)a->ifa_addr)->sin_addr;
		else if (a->ifa_addr->sa_family == AF_INET6)
			bytes =
			    &((const struct sockaddr_in6 *)(const void *)a->ifa_addr)->sin6_addr;
		if (bytes != NULL &&
		    inet_ntop(a->ifa_addr->sa_family, bytes, text, sizeof text) != NULL)
			doctor_add_interface(f, a->ifa_name, text);
	}
	freeifaddrs(list);
}

static void
wipe(char *secret)
{
	if (secret != NULL)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

void
doctor_facts_fini(struct doctor_facts *f)
{
	for (unsigned i = 0; i < f->lun_count; i++) {
		struct doctor_lun *x = &f->luns[i];
		free(x->name), free(x->store), free(x->mode), free(x->cache), free(x->where);
	}
	for (unsigned i = 0; i < f->cache_count; i++)
		free(f->caches[i].name), free(f->caches[i].ssd), free(f->caches[i].where);
	for (unsigned i = 0; i < f->address_count; i++)
		free(f->addresses[i].portal), free(f->addresses[i].address);
	for (unsigned i = 0; i < f->target_count; i++)
		free(f->targets[i].name);
	for (unsigned i = 0; i < f->chap_count; i++) {
		struct doctor_chap *x = &f->chaps[i];
		free(x->name), free(x->target), free(x->user);
		wipe(x->secret), wipe(x->mutual_secret);
	}
	for (unsigned i = 0; i < f->viewer_count; i++)
		free(f->viewers[i].lun), free(f->viewers[i].initiator);
	for (unsigned i = 0; i < f->interface_count; i++)
		free(f->interfaces[i].name), free(f->interfaces[i].address);
	for (unsigned i = 0; i < f->trouble_count; i++)
		free(f->troubles[i].where), free(f->troubles[i].text);
	free(f->luns), free(f->caches), free(f->addresses), free(f->targets), free(f->chaps);
	free(f->viewers), free(f->interfaces), free(f->troubles);
	*f = (struct doctor_facts){.root = "", .configuration = ""};
}
