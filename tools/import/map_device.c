/* SPDX-License-Identifier: BSD-2-Clause */
/* Devices of SCST → LUNs: store, mode, and everything that initiators know the disk by. */
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/crc32c.h"
#include "tools/import/import_priv.h"

#define VENDOR_MAX 8u
#define PRODUCT_MAX 16u
#define REVISION_MAX 4u
#define ID_MAX 64u
#define EUI64_BYTES 8u

/* Attributes that the functions below look at. */
static const char *const handled[] = {"filename", "blocksize", "nv_cache", "write_through",
    "t10_dev_id", "usn", "naa_id", "eui64_id", "t10_vend_id", "vend_specific_id", "prod_id",
    "prod_rev_lvl", "size", "size_mb", "dummy", "lb_per_pb_exp", "thin_provisioned", "read_only",
    "removable", "rotational"};

/* Attributes without a counterpart: with another value than `usual` something is lost. */
static const struct {
	const char *name, *usual, *text;
	enum import_severity severity;
} others[] = {
    {"o_direct", NULL, NULL, IMPORT_REMARK}, /* always so here, unless the mode is volatile */
    {"async", NULL, NULL, IMPORT_REMARK},
    {"threads_num", NULL, NULL, IMPORT_REMARK}, /* loops serve all LUNs */
    {"threads_pool_type", NULL, NULL, IMPORT_REMARK},
    {"numa_node_id", "-1", "memory isn't bound to a node", IMPORT_REMARK},
    {"cpu_mask", NULL, "threads aren't bound to processors: see loops", IMPORT_REMARK},
    {"opt_trans_len", "524288", "the optimal transfer length is the store's", IMPORT_REMARK},
    {"max_tgt_dev_commands", NULL, "queues are as deep as the session's window", IMPORT_REMARK},
    {"active", "1", "all LUNs are active", IMPORT_LOST},
    {"bind_alua_state", NULL, NULL, IMPORT_REMARK},
    {"cluster_mode", "0", "reservations aren't shared between targets", IMPORT_LOST},
    {"expl_alua", "0", "ALUA states can't be set by initiators", IMPORT_LOST},
    {"pr_file_name", NULL, "reservations are kept in the state directory", IMPORT_REMARK},
    {"tst", "1", "each initiator has a task set of its own", IMPORT_LOST},
    {"dif_mode", "0", "there is no protection information", IMPORT_LOST},
    {"dif_type", "0", "there is no protection information", IMPORT_LOST},
    {"dif_filename", NULL, "there is no protection information", IMPORT_LOST},
    {"dif_static_app_tag", NULL, NULL, IMPORT_REMARK},
    {"inq_vend_specific", NULL, "INQUIRY has no vendor specific part", IMPORT_LOST},
    {"scsi_device_name", NULL, "the device name is the target's", IMPORT_LOST},
    {"resync_size", NULL, NULL, IMPORT_REMARK},
    {"sync", NULL, NULL, IMPORT_REMARK},
};

char *
import_name(struct import *im, const char *name)
{
	char *s = import_strdup(im, name);

	for (char *p = s; p != NULL && *p != '\0'; p++)
		if (!isalnum((unsigned char)*p) && strchr("-_.:@+", *p) == NULL)
			*p = '-';
	if (s != NULL && strlen(s) > 64)
		s[64] = '\0';
	if (s != NULL && !isalnum((unsigned char)s[0]))
		s = import_sprintf(im, "x%s", s);
	return s;
}

/* ---- where its bytes are ------------------------------------------------------------------------------- */

/* /dev/mapper/GROUP/VOLUME is written in an old guide, and is no path. */
static const char *
real_path(struct import *im, const struct scst_device *d, const char *path)
{
	const char *rest = path + strlen("/dev/mapper/");

	if (strncmp(path, "/dev/mapper/", strlen("/dev/mapper/")) != 0 || strchr(rest, '/') == NULL)
		return path;
	char *real = import_sprintf(im, "/dev/%s", rest);
	import_tell(im, &d->pos, IMPORT_REMARK,
	    "%s is no path: volumes are in /dev/GROUP/VOLUME, so %s is meant", path, real);
	return real;
}

static void
put_store(struct import *im, FILE *out, const struct scst_device *d)
{
	const char *path = scst_attr_value(&d->attrs, "filename");
	struct stat st;

	path = real_path(im, d, path);
	if (path == NULL)
		return;
	bool block = strncmp(path, "/dev/", 5) == 0;
	if (stat(path, &st) < 0)
		import_tell(im, &d->pos, IMPORT_REMARK, "%s isn't there now", path);
	else
		block = S_ISBLK(st.st_mode);
	if (strncmp(path, "/dev/sd", 7) == 0 || strncmp(path, "/dev/md", 7) == 0)
		import_tell(im, &d->pos, IMPORT_REMARK,
		    "%s may be another disk after a reboot: use its name in /dev/disk/by-id", path);
	import_put(
	    im, out, 1, "store", import_sprintf(im, "%s:%s", block ? "block" : "file", path));
}

static void
put_null_store(struct import *im, FILE *out, const struct scst_device *d)
{
	const char *size = scst_attr_value(&d->attrs, "size");
	const char *mib = scst_attr_value(&d->attrs, "size_mb");

	import_put(im, out, 1, "store", "null:");
	if (size != NULL)
		import_put(im, out, 1, "size", size);
	else
		import_put(
		    im, out, 1, "size", import_sprintf(im, "%sMiB", mib != NULL ? mib : "1"));
}

/* ---- what a write means ----------------------------------------------------------------------------------- */

static void
put_mode(struct import *im, FILE *out, const struct scst_device *d)
{
	bool nv = scst_attr_is_on(&d->attrs, "nv_cache");

	if (nv && im->args->nv_cache_is_nv) {
		import_put(im, out, 1, "cache", "scst");
		import_put(im, out, 1, "mode", "nv");
		import_tell(im, &d->pos, IMPORT_REMARK,
		    "NV_CACHE counted memory as durable; mode nv answers when the SSD has it");
	} else if (nv) {
		import_put(im, out, 1, "mode", "writethrough");
		import_tell(im, &d->pos, IMPORT_REMARK,
		    "NV_CACHE counted memory as durable; without an SSD (--ssd) that is only true "
		    "once "
		    "the store has it: mode writethrough");
	} else if (scst_attr_is_on(&d->attrs, "write_through")) {
		import_put(im, out, 1, "mode", "writethrough");
	} else if (!scst_attr_is_on(&d->attrs, "read_only") &&
	           strcmp(d->handler, "vdisk_fileio") == 0) {
		import_tell(im, &d->pos, IMPORT_REMARK,
		    "SCST answered writes from memory and honoured flushes, which is mode volatile "
		    "here; the default, writethrough, is safer");
	}
}

/* ---- what it is known by ------------------------------------------------------------------------------------ */

/* What SCST makes of setup_id and the name where the file doesn't say it. */
static uint64_t
generated_id(struct import *im, const struct scst_device *d)
{
	uint64_t setup = im->scst.setup_id != NULL ? strtoull(im->scst.setup_id, NULL, 0) : 0;

	/* The kernel's crc32c(0, …): nothing is inverted. */
	return setup << 32 | crc32c_update(0, d->name, strlen(d->name) + 1);
}

/* Printable ASCII without blanks around it, at most `max`: what terrace.conf(5) takes. */
static void
put_identity(struct import *im, FILE *out, const struct scst_device *d, const char *key,
    const char *value, size_t max)
{
	char *s = import_strdup(im, value);

	if (s == NULL)
		return;
	s += strspn(s, " ");
	size_t len = strlen(s);
	for (size_t i = 0; i < len; i++)
		if (s[i] < 0x20 || s[i] > 0x7e)
			s[i] = '?';
	if (len > max)
		len = max;
	while (len > 0 && s[len - 1] == ' ')
		len--;
	s[len] = '\0';
	if (len == 0)
		return;
	if (strcmp(s, value) != 0)
		import_tell(im, &d->pos, IMPORT_REMARK, "%s '%s' becomes '%s'", key, value, s);
	import_put(im, out, 1, key, s);
}

static const char *
hex_digits(const char *s)
{
	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X'))
		s += 2;
	return s[strspn(s, "0123456789abcdefABCDEF")] == '\0' ? s : "";
}

/* NAA only where there was one: hosts prefer it, and a new one makes it another disk to them. */
static void
put_designators(struct import *im, FILE *out, const struct scst_device *d, const char *t10)
{
	const char *naa = scst_attr_value(&d->attrs, "naa_id");
	const char *eui = scst_attr_value(&d->attrs, "eui64_id");
	char hex[2 * EUI64_BYTES + 1] = "";

	if (naa != NULL && (strlen(hex_digits(naa)) == 32 || strlen(hex_digits(naa)) == 16))
		import_put(im, out, 1, "naa", hex_digits(naa));
	else
		import_put(im, out, 1, "naa", "none");
	if (naa != NULL && strlen(hex_digits(naa)) != 32 && strlen(hex_digits(naa)) != 16)
		import_tell(im, &d->pos, IMPORT_LOST,
		    "naa_id %s has neither 16 nor 32 hexadecimal digits: hosts may take this for "
		    "another disk",
		    naa);
	if (eui != NULL && strlen(hex_digits(eui)) == 2 * EUI64_BYTES) {
		import_put(im, out, 1, "eui64", hex_digits(eui));
	} else if (eui != NULL) {
		import_tell(im, &d->pos, IMPORT_LOST,
		    "eui64_id %s has not 16 hexadecimal digits: hosts may take this for another "
		    "disk",
		    eui);
	} else if (naa == NULL && !d->old) {
		/* SCST reported the first eight bytes of t10_dev_id then. */
		for (size_t i = 0; i < EUI64_BYTES; i++)
			snprintf(
			    hex + 2 * i, 3, "%02x", i < strlen(t10) ? (unsigned char)t10[i] : 0u);
		import_put(im, out, 1, "eui64", hex);
	}
}

static void
put_identities(struct import *im, FILE *out, const struct scst_device *d)
{
	const struct scst_attrs *a = &d->attrs;
	const char *vendor = scst_attr_value(a, "t10_vend_id");
	const char *t10 = scst_attr_value(a, "t10_dev_id");
	const char *specific = scst_attr_value(a, "vend_specific_id");
	const char *usn = scst_attr_value(a, "usn"), *product = scst_attr_value(a, "prod_id");
	const char *revision = scst_attr_value(a, "prod_rev_lvl");

	if (d->old && t10 == NULL) {
		import_tell(im, &d->pos, IMPORT_LOST,
		    "the file doesn't say what initiators know '%s' by: they will take it for a "
		    "new "
		    "disk, unless you add t10_id and serial as 'sg_vpd --page=di' shows them on "
		    "one",
		    d->name);
		return;
	}
	if (!d->old && (t10 == NULL || usn == NULL))
		import_tell(im, &d->pos, IMPORT_REMARK,
		    "identity worked out from the name, as SCST 2 and later make it: compare it "
		    "with "
		    "/sys/kernel/scst_tgt/devices/%s/{t10_dev_id,usn}",
		    d->name);
	if (t10 == NULL)
		t10 = import_sprintf(im, "%" PRIx64 "-%s", generated_id(im, d), d->name);
	if (usn == NULL && !d->old)
		usn = import_sprintf(im, "%" PRIx64, generated_id(im, d));
	if (vendor == NULL)
		vendor = strcmp(d->handler, "vdisk_blockio") == 0 ? "SCST_BIO" : "SCST_FIO";
	if (t10 == NULL)
		return;
	put_designators(im, out, d, t10);
	put_identity(im, out, d, "t10_id", specific != NULL ? specific : t10, ID_MAX);
	if (usn != NULL)
		put_identity(im, out, d, "serial", usn, ID_MAX);
	put_identity(im, out, d, "vendor", vendor, VENDOR_MAX);
	put_identity(im, out, d, "product", product != NULL ? product : d->name, PRODUCT_MAX);
	if (revision != NULL)
		put_identity(im, out, d, "revision", revision, REVISION_MAX);
}

/* ---- the rest ------------------------------------------------------------------------------------------------- */

static void
put_flag(
    struct import *im, FILE *out, const struct scst_device *d, const char *attr, const char *key)
{
	if (scst_attr_value(&d->attrs, attr) != NULL)
		import_put(im, out, 1, key, scst_attr_is_on(&d->attrs, attr) ? "yes" : "no");
}

static void
put_geometry(struct import *im, FILE *out, const struct scst_device *d)
{
	const char *bytes = scst_attr_value(&d->attrs, "blocksize");
	const char *exponent = scst_attr_value(&d->attrs, "lb_per_pb_exp");

	if (bytes != NULL && strcmp(bytes, "512") != 0 && strcmp(bytes, "4096") != 0)
		import_tell(im, &d->pos, IMPORT_LOST,
		    "blocks of %s bytes: a disk has blocks of 512 or 4096, and what was written "
		    "with "
		    "others can't be read with these",
		    bytes);
	else if (bytes != NULL)
		import_put(im, out, 1, "block_size", bytes);
	if (exponent != NULL && strcmp(exponent, "0") == 0)
		import_put(im, out, 1, "physical_exponent", "0");
}

static bool
is_handled(const char *name)
{
	for (size_t i = 0; i < sizeof handled / sizeof handled[0]; i++)
		if (strcmp(handled[i], name) == 0)
			return true;
	return false;
}

bool
import_attribute(
    const char *name, const char *value, enum import_severity *ret_severity, const char **ret_text)
{
	*ret_severity = IMPORT_REMARK;
	*ret_text = NULL;
	if (is_handled(name))
		return true;
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		if (strcmp(others[i].name, name) != 0)
			continue;
		*ret_severity = others[i].severity;
		if (*value != '\0' &&
		    (others[i].usual == NULL || strcmp(others[i].usual, value) != 0))
			*ret_text = others[i].text;
		return true;
	}
	return false;
}

static void
tell_others(struct import *im, const struct scst_device *d)
{
	for (unsigned k = 0; k < d->attrs.count; k++) {
		const struct scst_attr *a = &d->attrs.list[k];
		const char *value = a->value_count > 0 ? a->values[0] : "", *text;
		enum import_severity severity;

		if (!import_attribute(a->name, value, &severity, &text))
			import_tell(
			    im, &a->pos, IMPORT_LOST, "%s: an attribute that isn't known", a->name);
		else if (text != NULL)
			import_tell(im, &a->pos, severity, "%s %s: %s", a->name, value, text);
	}
}

/* False, told: this is nothing that can be served here. */
static bool
is_served(struct import *im, const struct scst_device *d)
{
	bool null = strcmp(d->handler, "vdisk_nullio") == 0;

	if (null && scst_attr_is_on(&d->attrs, "dummy")) {
		import_tell(im, &d->pos, IMPORT_REMARK,
		    "'%s' only filled LUN 0, which needs no disk here", d->name);
		return false;
	}
	if (!null && strcmp(d->handler, "vdisk_fileio") != 0 &&
	    strcmp(d->handler, "vdisk_blockio") != 0) {
		import_tell(im, &d->pos, IMPORT_LOST,
		    "device '%s' of handler %s: only disks are served, no %s", d->name, d->handler,
		    strcmp(d->handler, "vcdrom") == 0 ? "CD-ROMs"
		                                      : "devices of this machine passed on");
		return false;
	}
	const char *path = scst_attr_value(&d->attrs, "filename");
	if (!null && (path == NULL || path[0] != '/')) {
		import_tell(im, &d->pos, IMPORT_LOST, "device '%s' has no %s", d->name,
		    path == NULL ? "filename" : "absolute filename");
		return false;
	}
	return true;
}

static void
name_it(struct import *im, struct scst_device *d)
{
	char *name = import_name(im, d->name);

	for (unsigned n = 2; name != NULL; n++) {
		bool taken = false;
		for (unsigned i = 0; i < im->scst.device_count; i++) {
			const char *other = im->scst.devices[i].lun;
			taken = taken || (other != NULL && strcmp(other, name) == 0);
		}
		if (!taken)
			break;
		name = import_sprintf(im, "%.60s-%u", import_name(im, d->name), n);
	}
	d->lun = name;
	if (name != NULL && strcmp(name, d->name) != 0)
		import_tell(im, &d->pos, IMPORT_REMARK, "'%s' is called '%s' here", d->name, name);
}

static void
map_device(struct import *im, FILE *out, struct scst_device *d)
{
	if (!is_served(im, d))
		return;
	name_it(im, d);
	fprintf(out, "lun %s {\n", d->lun != NULL ? d->lun : "");
	if (strcmp(d->handler, "vdisk_nullio") == 0) {
		put_null_store(im, out, d);
	} else {
		put_store(im, out, d);
		put_mode(im, out, d);
	}
	put_geometry(im, out, d);
	put_flag(im, out, d, "read_only", "read_only");
	put_flag(im, out, d, "removable", "removable");
	put_flag(im, out, d, "rotational", "rotational");
	put_flag(im, out, d, "thin_provisioned", "thin");
	put_identities(im, out, d);
	fputs("}\n", out);
	tell_others(im, d);
}

static void
put_device(struct import *im, FILE *out, void *object)
{
	map_device(im, out, object);
}

void
import_map_devices(struct import *im, FILE *out)
{
	for (unsigned i = 0; i < im->scst.device_count && !im->no_memory; i++)
		import_put_noted(im, out, put_device, &im->scst.devices[i], NULL);
}
