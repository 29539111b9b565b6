/* SPDX-License-Identifier: BSD-2-Clause */
/* Devices of SCST, which are LUNs: -open_dev, -adddev, -close_dev, -resync_dev, -set_dev_attr. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/import/import.h"
#include "tools/scstadmin/scstadmin.h"

#define MAPPER "/dev/mapper/"
#define NULLIO_SIZE "5TiB" /* SCST's own default */

/* Attributes that are keys of a LUN. */
static const struct {
	const char *attribute, *key;
	bool yes_no;
} keys[] = {
    {"blocksize", "block_size", false},
    {"read_only", "read_only", true},
    {"removable", "removable", true},
    {"rotational", "rotational", true},
    {"thin_provisioned", "thin", true},
    {"t10_dev_id", "t10_id", false},
    {"vend_specific_id", "t10_id", false},
    {"usn", "serial", false},
    {"naa_id", "naa", false},
    {"eui64_id", "eui64", false},
    {"t10_vend_id", "vendor", false},
    {"prod_id", "product", false},
    {"prod_rev_lvl", "revision", false},
    {"lb_per_pb_exp", "physical_exponent", false},
};

/* Options of old, long and short, and what they are called today. */
static const struct {
	const char *option, *attribute;
} old_options[] = {
    {"WRITE_THROUGH", "write_through"},
    {"WT", "write_through"},
    {"READ_ONLY", "read_only"},
    {"RO", "read_only"},
    {"O_DIRECT", "o_direct"},
    {"DR", "o_direct"},
    {"NULLIO", "nullio"},
    {"NIO", "nullio"},
    {"NV_CACHE", "nv_cache"},
    {"NV", "nv_cache"},
    {"BLOCKIO", "blockio"},
    {"BLOCK_IO", "blockio"},
    {"BIO", "blockio"},
    {"REMOVABLE", "removable"},
    {"RM", "removable"},
};

/* A LUN that is being put together. */
struct device {
	char store[4200];
	const char *size, *mode;
	json_t *options; /* its other keys */
};

/* ---- where its bytes are --------------------------------------------------------------------------- */

/*
 * /dev/mapper/GROUP/VOLUME, which an old guide has, is no path: names of the device mapper have no
 * folders. True: it is one of these, and `d` has the store that is meant or *ret_status why not.
 */
static bool
mapper_path(struct admin *a, const char *path, struct device *d, int *ret_status)
{
	const char *volume = path + strlen(MAPPER);
	char real[4200];

	*ret_status = TOOL_DONE;
	if (strncmp(path, MAPPER, strlen(MAPPER)) != 0 || strchr(volume, '/') == NULL)
		return false;
	snprintf(real, sizeof real, "/dev/%s", volume);
	if (access(real, F_OK) == 0) {
		act_remark(a, "%s is no path: the volume's is %s, which was taken", path, real);
		snprintf(d->store, sizeof d->store, "lvm:%s", volume);
	} else {
		*ret_status = act_fail(a,
		    "%s is no path: names in %s have no folders. The volume's path is %s, or "
		    "lvm:%s, and it isn't there now: `lvs` lists those there are",
		    path, MAPPER, real, volume);
	}
	return true;
}

/* The store by what is there. */
static int
find_store(struct admin *a, const char *name, const char *path, bool blockio, struct device *d)
{
	struct stat st;
	int status;

	if (path == NULL || path[0] != '/')
		return act_fail(a,
		    path == NULL ? "where is '%s'? -attributes filename=PATH, or -path PATH"
		                 : "the path of '%s' has to begin with a slash",
		    name);
	if (strlen(path) > 4000)
		return act_fail(a, "the path of '%s' is too long", name);
	if (mapper_path(a, path, d, &status))
		return status;
	bool there = stat(path, &st) == 0;
	if (!there && errno != EACCES && blockio)
		return act_fail(a, "%s isn't there: `lsblk` lists the devices that are", path);
	if (!there && errno != EACCES)
		return act_fail(a,
		    "%s isn't there: `terracectl lun create %s --store file:%s --size 10GiB` makes "
		    "a file of this size",
		    path, name, path);
	bool block = there ? S_ISBLK(st.st_mode) : blockio;
	if (there && !block && !S_ISREG(st.st_mode))
		return act_fail(a, "%s is neither a file nor a block device", path);
	if (there && !block && blockio)
		act_remark(a, "%s is a file: it is served as one, BLOCKIO or not", path);
	if (strncmp(path, "/dev/sd", 7) == 0 || strncmp(path, "/dev/md", 7) == 0)
		act_remark(a,
		    "%s may be another disk after a reboot: use its name in /dev/disk/by-id", path);
	snprintf(d->store, sizeof d->store, "%s:%s", block ? "block" : "file", path);
	return TOOL_DONE;
}

/* ---- attributes --------------------------------------------------------------------------------------- */

/* The key that an attribute is, its value as ours in `buf`; NULL: it is none. */
static const char *
key_of(const char *attribute, const char *value, char *buf, size_t cap)
{
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		if (strcasecmp(keys[i].attribute, attribute) != 0)
			continue;
		/* It is a yes or no there, and yes is what the store says by itself. */
		if (strcmp(keys[i].key, "physical_exponent") == 0 && strcmp(value, "0") != 0)
			return NULL;
		bool hex = strcmp(keys[i].key, "naa") == 0 || strcmp(keys[i].key, "eui64") == 0;
		if (keys[i].yes_no)
			value = act_is_on(value) ? "yes" : "no";
		else if (hex && strncasecmp(value, "0x", 2) == 0)
			value += 2;
		snprintf(buf, cap, "%s", value);
		return keys[i].key;
	}
	return NULL;
}

static void
tell_nv_cache(struct admin *a, const char *name)
{
	act_remark(a,
	    "NV_CACHE counted memory as durable, so '%s' answers a write when the store has it "
	    "(mode writethrough). With an SSD it is as fast again, and durable: `cachectl add "
	    "fast %s --ssd SSD`",
	    name, name);
}

/* What has no key: what it means here, as the import of configurations says it. */
static void
tell_attribute(struct admin *a, const char *name, const char *attribute, const char *value)
{
	enum import_severity severity;
	const char *text;

	if (strcmp(attribute, "nv_cache") == 0) {
		if (act_is_on(value))
			tell_nv_cache(a, name);
		return;
	}
	if (!import_attribute(attribute, value, &severity, &text))
		act_remark(a, "%s: an attribute that isn't known", attribute);
	else if (text != NULL)
		act_remark(a, "%s %s: %s", attribute, value, text);
}

/* Attributes by name; those that the caller looks at itself are in `own`, which ends with NULL. */
static void
take_attributes(struct admin *a, struct device *d, json_t *attributes, const char *const *own)
{
	const char *attribute;
	json_t *value;
	char text[300];

	json_object_foreach(attributes, attribute, value)
	{
		bool known = false;
		for (unsigned i = 0; own[i] != NULL; i++)
			known = known || strcmp(own[i], attribute) == 0;
		if (known)
			continue;
		const char *key = key_of(attribute, json_string_value(value), text, sizeof text);
		if (key != NULL)
			json_object_set_new(d->options, key, json_string(text));
		else
			tell_attribute(a, a->order.name, attribute, json_string_value(value));
	}
}

/* -options A,B and -blocksize as attributes. False: wrong, which was said. */
static bool
old_attributes(struct admin *a, json_t *attributes)
{
	const char *given = a->order.value[OPT_OPTIONS];
	char *copy = strdup(given != NULL ? given : ""), *rest = NULL;
	bool good = copy != NULL;

	for (char *one = good ? strtok_r(copy, ",| ", &rest) : NULL; one != NULL && good;
	     one = strtok_r(NULL, ",| ", &rest)) {
		const char *attribute = NULL;
		for (size_t i = 0; i < sizeof old_options / sizeof old_options[0]; i++)
			if (strcasecmp(old_options[i].option, one) == 0)
				attribute = old_options[i].attribute;
		if (attribute == NULL) {
			(void)act_fail(a,
			    "-options has no %s: WRITE_THROUGH, READ_ONLY, O_DIRECT, NULLIO, "
			    "NV_CACHE, BLOCKIO and REMOVABLE are known",
			    one);
			good = false;
		} else {
			json_object_set_new(attributes, attribute, json_string("1"));
		}
	}
	free(copy);
	if (a->order.value[OPT_BLOCKSIZE] != NULL)
		json_object_set_new(
		    attributes, "blocksize", json_string(a->order.value[OPT_BLOCKSIZE]));
	if (a->order.value[OPT_PATH] != NULL)
		json_object_set_new(attributes, "filename", json_string(a->order.value[OPT_PATH]));
	return good;
}

/* ---- -open_dev, -adddev --------------------------------------------------------------------------------- */

static bool
is_on(const json_t *attributes, const char *name)
{
	return act_is_on(json_string_value(json_object_get(attributes, name)));
}

static void
null_store(const json_t *attributes, struct device *d, char *buf, size_t cap)
{
	const char *path = json_string_value(json_object_get(attributes, "filename"));
	const char *mib = json_string_value(json_object_get(attributes, "size_mb"));
	struct stat st;

	snprintf(d->store, sizeof d->store, "null:");
	d->size = json_string_value(json_object_get(attributes, "size"));
	if (d->size != NULL)
		return;
	if (mib != NULL)
		snprintf(buf, cap, "%.40sMiB", mib);
	else if (path != NULL && stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
		snprintf(buf, cap, "%lld", (long long)st.st_size);
	else
		snprintf(buf, cap, NULLIO_SIZE);
	d->size = buf;
}

static int
create(struct admin *a, const struct device *d)
{
	json_t *params = json_pack("{s:s, s:s}", "name", a->order.name, "store", d->store);

	if (params == NULL)
		return act_fail(a, "out of memory");
	if (d->size != NULL)
		json_object_set_new(params, "size", json_string(d->size));
	if (d->mode != NULL)
		json_object_set_new(params, "mode", json_string(d->mode));
	if (json_object_size(d->options) > 0)
		json_object_set(params, "options", d->options);
	return act(a, "lun.create", params);
}

static int
open_device(struct admin *a, json_t *attributes)
{
	static const char *const own[] = {"filename", "size", "size_mb", "write_through", "dummy",
	    "nullio", "blockio", "o_direct", NULL};
	const char *handler = a->order.value[OPT_HANDLER];
	struct device d = {.options = json_object()};
	char size[64];
	int status = TOOL_DONE;

	bool null = strcmp(handler, "vdisk_nullio") == 0 || is_on(attributes, "nullio");
	bool blockio = strcmp(handler, "vdisk_blockio") == 0 || is_on(attributes, "blockio");
	if (strncmp(handler, "vdisk", 5) != 0) {
		json_decref(d.options);
		return act_none(a, "handler %s: only disks are served, no %s", handler,
		    strcmp(handler, "vcdrom") == 0 ? "CD-ROMs"
		                                   : "devices of this machine passed on");
	}
	if (is_on(attributes, "dummy")) {
		json_decref(d.options);
		return act_nothing(a, "LUN 0 doesn't need a disk to be there");
	}
	if (null)
		null_store(attributes, &d, size, sizeof size);
	else
		status = find_store(a, a->order.name,
		    json_string_value(json_object_get(attributes, "filename")), blockio, &d);
	if (is_on(attributes, "write_through"))
		d.mode = "writethrough";
	if (status == TOOL_DONE) {
		take_attributes(a, &d, attributes, own);
		status = create(a, &d);
	}
	json_decref(d.options);
	return status;
}

int
scst_open_dev(struct admin *a)
{
	json_t *attributes = act_attributes(a, a->order.value[OPT_ATTRIBUTES]);
	int status = TOOL_FAILED;

	if (attributes != NULL && old_attributes(a, attributes))
		status = open_device(a, attributes);
	json_decref(attributes);
	return status;
}

/* ---- the others ------------------------------------------------------------------------------------------- */

int
scst_close_dev(struct admin *a)
{
	return act(a, "lun.delete", json_pack("{s:s}", "name", a->order.name));
}

int
scst_resync_dev(struct admin *a)
{
	return act(a, "lun.resize", json_pack("{s:s}", "name", a->order.name));
}

static int
set_key(struct admin *a, const char *lun, const char *key, const char *value)
{
	return act(
	    a, "lun.set", json_pack("{s:s, s:s, s:s}", "name", lun, "key", key, "value", value));
}

/* One attribute of a device that is there. */
static int
set_attribute(struct admin *a, const char *attribute, const char *value)
{
	struct device d = {.options = NULL};
	const char *name = a->order.name;
	char text[300];

	const char *key = key_of(attribute, value, text, sizeof text);
	if (key != NULL)
		return set_key(a, name, key, text);
	if (strcmp(attribute, "filename") == 0) {
		int status = find_store(a, name, value, false, &d);
		return status != TOOL_DONE ? status : set_key(a, name, "store", d.store);
	}
	if (strcmp(attribute, "write_through") == 0)
		return act_is_on(value) ? set_key(a, name, "mode", "writethrough")
		                        : act_none(a,
		                              "`terracectl lun set %s mode volatile` answers "
		                              "writes from memory; what isn't flushed is lost in "
		                              "a crash",
		                              name);
	if (strcmp(attribute, "resync_size") == 0)
		return act(a, "lun.resize", json_pack("{s:s}", "name", name));
	if (strcmp(attribute, "sync") == 0)
		return act_none(a,
		    "an answered write is durable already; what a cache holds goes to the store "
		    "with `cachectl flush %s`",
		    name);
	unsigned before = (unsigned)json_array_size(a->remarks);
	tell_attribute(a, name, attribute, value);
	return json_array_size(a->remarks) > before
	           ? TOOL_REMARKS
	           : act_nothing(a, "%s is as good as anything here", attribute);
}

int
scst_set_dev_attr(struct admin *a)
{
	json_t *attributes = act_attributes(a, a->order.value[OPT_ATTRIBUTES]), *value;
	const char *attribute;
	int worst = attributes != NULL ? TOOL_DONE : TOOL_FAILED;

	json_object_foreach(attributes, attribute, value)
	{
		int status = set_attribute(a, attribute, json_string_value(value));
		if (status != TOOL_DONE)
			worst = status;
		if (!act_good(status) && !a->order.goes_on)
			break;
	}
	json_decref(attributes);
	return worst;
}

int
scst_set_t10_id(struct admin *a)
{
	return set_key(a, a->order.value[OPT_DEVICE], "t10_id", a->order.name);
}
