/* SPDX-License-Identifier: BSD-2-Clause */
/* Values: where each one goes, and what is said of a wrong one. */
#include "tests/unit/conf/conf_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- right ------------------------------------------------------------------------------------- */

static void
lun_keys_go_where_they_belong(void **state)
{
	struct fixture *f = *state;
	fixture_text(f,
	    "portal p { listen 127.0.0.1 }\n"
	    "target iqn.2026-11.a:b { portals p; open yes; lun 0 l }\n"
	    "lun l { store lvm:a/b; size 8KiB; mode volatile\n"
	    "uuid 01234567-89AB-cdef-0123-456789abcdef; naa 0x6001405A1b2c3d4e5f60718293a4b5c6\n"
	    "eui64 eui.3A1b2c3d4e5f6071; serial \"s 1\"; t10_id t; vendor v; product p\n"
	    "revision r; block_size 4096; physical_exponent 3; read_only yes; removable yes\n"
	    "rotational no; thin no; sanitize yes }");
	assert_string_equal(f->messages, "");
	const struct conf_lun *l = &f->conf->luns[0];
	assert_string_equal(l->name, "l");
	assert_string_equal(l->store, "lvm:a/b");
	assert_int_equal(l->size_bytes, 8192);
	assert_int_equal(l->mode, CONF_MODE_VOLATILE);
	assert_string_equal(l->uuid, "01234567-89ab-cdef-0123-456789abcdef");
	assert_string_equal(l->naa, "6001405a1b2c3d4e5f60718293a4b5c6");
	assert_string_equal(l->eui64, "3a1b2c3d4e5f6071");
	assert_string_equal(l->serial, "s 1");
	assert_string_equal(l->t10_id, "t");
	assert_string_equal(l->vendor, "v");
	assert_string_equal(l->product, "p");
	assert_string_equal(l->revision, "r");
	assert_int_equal(l->block_size, 4096);
	assert_int_equal(l->physical_exponent, 3);
	assert_true(l->read_only && l->removable && l->sanitize);
	assert_true(l->rotational_set && !l->rotational);
	assert_int_equal(l->thin, 0);
	assert_int_equal(l->pos.line, 3);
}

static void
lun_defaults(void **state)
{
	struct fixture *f = *state;
	fixture_text(f, "lun l { store /srv/a }");
	assert_int_equal(f->built, 0);
	const struct conf_lun *l = &f->conf->luns[0];
	assert_int_equal(l->size_bytes, 0);
	assert_int_equal(l->mode, CONF_MODE_DEFAULT);
	assert_null(l->uuid);
	assert_int_equal(l->block_size, 512);
	assert_int_equal(l->physical_exponent, -1);
	assert_int_equal(l->thin, -1);
	assert_false(l->rotational_set || l->read_only || l->removable || l->sanitize);
}

static void
stores_of_every_kind(void **state)
{
	static const char *const good[] = {"file:/srv/a", "block:/dev/sda", "lvm:vg/lv", "/srv/a:b",
	    "fault:1:read_error=0.1:/srv/a"};
	for (unsigned i = 0; i < sizeof good / sizeof good[0]; i++) {
		struct fixture *f = *state;
		char text[128];
		snprintf(text, sizeof text, "lun l { store %s }", good[i]);
		fixture_text(f, text);
		assert_int_equal(f->built, 0);
		assert_string_equal(f->conf->luns[0].store, good[i]);
	}
	fixture_text(*state, "lun l { store ram:; size 1MiB }\nlun n { store null:; size 1MiB }");
	assert_int_equal(((struct fixture *)*state)->built, 0);
}

static void
portals_get_their_port(void **state)
{
	struct fixture *f = *state;
	fixture_text(f, "portal p { listen 10.0.0.1 10.0.0.1:3261 [2001:db8::1]\n"
	                "listen [fe80::1%eth0]:80 host.example [::]:0; protocol iscsi }");
	assert_int_equal(f->built, 0);
	const struct conf_portal *p = &f->conf->portals[0];
	assert_int_equal(p->listen_count, 6);
	assert_string_equal(p->listen[0], "10.0.0.1:3260");
	assert_string_equal(p->listen[1], "10.0.0.1:3261");
	assert_string_equal(p->listen[2], "[2001:db8::1]:3260");
	assert_string_equal(p->listen[3], "[fe80::1%eth0]:80");
	assert_string_equal(p->listen[4], "host.example:3260");
	assert_string_equal(p->listen[5], "[::]:0");
	assert_int_equal(p->protocol, CONF_PROTOCOL_ISCSI);
}

static void
a_target_with_everything(void **state)
{
	struct fixture *f = *state;
	fixture_text(f,
	    "lun a { store /srv/a }\nlun b { store /srv/b }\n"
	    "portal p { listen 127.0.0.1 }\nportal q { listen 127.0.0.2 }\n"
	    "target IQN.2026-11.Example:T {\n"
	    " alias \"two words\"; portals p; portals q; open yes; lun 7 a read_only\n"
	    " initiators { allow 10.0.0.0/8 ALL; deny 10.1.0.0/16; deny [::1] }\n"
	    " header_digest required; data_digest offered\n"
	    " chap c { secret abcdefghijkl }\n"
	    " chap d { user D; secret abcdefghijkm; mutual_user m; mutual_secret 0123456789ab }\n"
	    " group g { user c d; initiators iqn.* eui.*; lun 0 a; lun 16383 b read_only }\n"
	    " group h { initiators *; lun 1 b }\n"
	    "}\n");
	assert_string_equal(f->messages, "");
	const struct conf_target *t = &f->conf->targets[0];
	assert_string_equal(t->name, "iqn.2026-11.example:t");
	assert_string_equal(t->alias, "two words");
	assert_int_equal(t->portal_count, 2);
	assert_string_equal(t->portals[1], "q");
	assert_true(t->open && t->header_digest_required && !t->data_digest_required);
	assert_int_equal(t->lun_count, 1);
	assert_int_equal(t->luns[0].number, 7);
	assert_true(t->luns[0].read_only);
	assert_int_equal(t->allow_count, 2);
	assert_int_equal(t->deny_count, 2);
	assert_string_equal(t->deny[1], "[::1]");
	assert_int_equal(f->conf->allow_count, 0);
	assert_int_equal(t->chap_count, 2);
	assert_string_equal(t->chaps[0].user, "c");
	assert_string_equal(t->chaps[0].secret, "abcdefghijkl");
	assert_null(t->chaps[0].mutual_user);
	assert_string_equal(t->chaps[1].user, "D");
	assert_string_equal(t->chaps[1].mutual_user, "m");
	assert_string_equal(t->chaps[1].mutual_secret, "0123456789ab");
	assert_int_equal(t->group_count, 2);
	const struct conf_group *g = &t->groups[0];
	assert_int_equal(g->user_count, 2);
	assert_int_equal(g->initiator_count, 2);
	assert_int_equal(g->lun_count, 2);
	assert_int_equal(g->luns[1].number, 16383);
	assert_string_equal(g->luns[1].lun, "b");
	assert_true(g->luns[1].read_only && !g->luns[0].read_only);
}

static void
the_top_level(void **state)
{
	struct fixture *f = *state;
	fixture_text(f, "loops 3\nbuffers 64MiB\nstate_dir /var/x\ncontrol /run/x.sock\n"
	                "initiators { allow 192.0.2.1; deny ALL }\n"
	                "discovery { chap finder { secret abcdefghijkl } }\n"
	                "limits { depth_max 64; send_queue_max_bytes 1MiB; nop_interval_ms 0 }\n");
	assert_string_equal(f->messages, "");
	assert_int_equal(f->conf->loops, 3);
	assert_int_equal(f->conf->buffer_bytes, 64 << 20);
	assert_string_equal(f->conf->state_dir, "/var/x");
	assert_string_equal(f->conf->control, "/run/x.sock");
	assert_string_equal(f->conf->allow[0], "192.0.2.1");
	assert_string_equal(f->conf->deny[0], "ALL");
	assert_string_equal(f->conf->discovery_chaps[0].user, "finder");
	uint64_t v;
	assert_true(conf_get_limit(f->conf, "depth_max", &v));
	assert_int_equal(v, 64);
	assert_true(conf_get_limit(f->conf, "send_queue_max_bytes", &v));
	assert_int_equal(v, 1 << 20);
	assert_true(conf_get_limit(f->conf, "nop_interval_ms", &v));
	assert_int_equal(v, 0);
	assert_false(conf_get_limit(f->conf, "tmf_max", &v));
}

static void
an_empty_configuration(void **state)
{
	struct fixture *f = *state;
	fixture_text(f, "");
	assert_int_equal(f->built, 0);
	assert_int_equal(f->conf->lun_count, 0);
}

/* ---- wrong -------------------------------------------------------------------------------------- */

/* clang-format off */
static const struct {
	const char *text, *message; /* the only one; its beginning */
} cases[] = {
    /* shapes */
    {"loops", "1:1: 'loops' needs a value: write loops N"},
    {"loops 1 2", "1:9: 'loops' takes one value: put it in quotes"},
    {"loops 1 { }", "1:1: 'loops' takes no block: write loops N"},
    {"loops 1; loops 2", "1:10: 'loops' is there already (line 1): remove one of them"},
    {"lun { store /a }", "1:1: a lun needs a name: write lun NAME { ... }"},
    {"lun a b { store /a }", "1:7: 'b' can't stand here: write lun NAME { ... }"},
    {"lun a", "1:1: lun 'a' lacks its block: write lun a { ... }"},
    {"limits x { }", "1:8: 'limits' takes no name: write limits { ... }"},
    {"limits", "1:1: 'limits' lacks its block: write limits { ... }"},
    {"limits { }\nlimits { }", "2:1: 'limits' is there already (line 1)"},
    {"initiators { allow }", "1:14: 'allow' needs at least one value: write allow ADDRESS ..."},
    {"initiators { allow ALL { } }", "1:14: 'allow' takes no block"},
    /* unknown */
    {"looops 2", "1:1: 'looops' isn't known by this version in the top level; did you mean 'loops'?"},
    {"lun a { store /a; sise 1 }", "1:19: 'sise' isn't known by this version in a lun; did you mean 'size'?"},
    {"lun a { store /a; ram 4GiB }", "1:19: 'ram' can't stand in a lun: it belongs to a cache"},
    {"cache c { ssd /x; ram 4MiB }", "1:23: '4MiB' is out of range: ram is 16MiB to 4096PiB"},
    {"cache c { ssd /x; index 4KiB }", "1:25: '4KiB' is out of range: index is 1MiB to 4096PiB"},
    {"cache c { ram 1GiB; index 1GiB }", "1:27: index is of what is on the SSD, and there is none: add ssd STORE, or remove it"},
    {"cache c { ssd /x; ram nothing }", "1:23: 'nothing' is no size: write it as 512MiB, 10GiB, 2TiB or bytes"},
    {"cache c { ram none }", "1:1: a cache needs an SSD, memory, or both: add ssd STORE or ram SIZE"},
    {"cache c { ssd /x; rom 4GiB }", "1:19: 'rom' isn't known by this version in a cache; did you mean 'ram'?"},
    {"cache c { ram 1GiB; size 1GiB }", "1:1: size is the SSD's, and there is none: add ssd STORE, or say ram SIZE only"},
    {"cache c { ram 1GiB }\nlun a { store /a; cache c; mode nv }", "2:33: mode nv means durable on the SSD of a cache, and this LUN has none: add cache NAME of one with an SSD, or say mode writethrough"},
    {"portal p { listen 10.0.0.1; protocol fc }", "1:38: 'fc' is no protocol that this version knows: iscsi|srp"},
    {"store /a", "1:1: 'store' can't stand in the top level: it belongs to a lun"},
    {"lun a { store /a; loops 2 }", "1:19: 'loops' can't stand in a lun: it belongs to the top level"},
    {"limits { depht_max 1 }", "1:10: 'depht_max' isn't known by this version in limits; did you mean 'depth_max'?"},
    /* caches */
    {"lun a { store /a; cache fast }", "1:25: there is no cache 'fast'"},
    {"cache fast { ssd /x }\nlun a { store /a; cache fats }", "2:25: there is no cache 'fats'; did you mean 'fast'?"},
    {"lun a { store /a; mode nv }", "1:24: mode nv means durable on the SSD of a cache, and this LUN has none: add cache NAME of one with an SSD, or say mode writethrough"},
    {"lun a { store /a; mode writeback }", "1:24: mode nv means durable on the SSD of a cache, and this LUN has none: add cache NAME of one with an SSD, or say mode writethrough"},
    {"cache c { ssd ram: }", "1:15: a cache keeps what was acknowledged, memory doesn't: give a device or a file on an SSD"},
    {"cache c { ssd /x }\ncache d { ssd file:/x }", "2:15: ssd '/x' is there already (line 1)"},
    {"cache c { ssd /x }\ncache c { ssd /y }", "2:7: cache 'c' is there already (line 1)"},
    {"cache c { ssd /x }\nlun a { store file:/x; cache c }", "2:15: file:/x is the SSD of cache 'c': give the LUN another store"},
    {"cache c { ssd /x }\nlun a { store /a; cache c; read_only yes }", "2:25: a LUN that is read only needs no cache"},
    {"cache c { size 1GiB }", "1:1: a cache needs an SSD, memory, or both: add ssd STORE or ram SIZE"},
    {"cache c { ssd /x; size 1KiB }", "1:24: '1KiB' is out of range: size is 1MiB to 4096PiB"},
    {"lun a { store /a; profile vmwre }", "1:27: 'vmwre' is no profile that this version knows: vmware|windows|database|fileserver|archive|uncached; did you mean 'vmware'?"},
    /* required */
    {"lun a { }", "1:1: a lun needs 'store': add store STORE"},
    {"portal p { }", "1:1: a portal needs 'listen': add listen ADDRESS[:PORT] ..."},
    /* numbers, sizes, choices */
    {"loops 0", "1:7: '0' is no loops: a number from 1 to 32"},
    {"loops 33", "1:7: '33' is no loops: a number from 1 to 32"},
    {"loops -1", "1:7: '-1' is no loops"},
    {"loops 1x", "1:7: '1x' is no loops"},
    {"buffers 1GB", "1:9: '1GB' is no size: write it as 512MiB, 10GiB, 2TiB or bytes"},
    {"buffers 1MiB", "1:9: '1MiB' is out of range: buffers is 8MiB to 1TiB"},
    {"buffers 99999999999999999999", "1:9: '99999999999999999999' is out of range"},
    {"limits { depth_max 0 }", "1:20: '0' is no depth_max: a number from 1 to 1024"},
    {"limits { chap_value_max_bytes 2KiB }", "1:31: '2KiB' is out of range: chap_value_max_bytes is 64B to 1KiB"},
    {"lun a { store /a; mode fast }", "1:24: 'fast' is no mode that this version knows: nv|writethrough|volatile|bypass"},
    {"lun a { store /a; mode voltile }", "1:24: 'voltile' is no mode that this version knows: nv|writethrough|volatile|bypass; did you mean 'volatile'?"},
    {"lun a { store /a; block_size 520 }", "1:30: '520' is no block_size"},
    {"lun a { store /a; physical_exponent 16 }", "1:37: '16' is no physical_exponent: a number from 0 to 15"},
    {"lun a { store /a; read_only true }", "1:29: 'true' is neither yes nor no: write read_only yes or read_only no"},
    {"lun a { store /a; thin maybe }", "1:24: 'maybe' is neither yes nor no"},
    /* names */
    {"lun a/b { store /a }", "1:5: 'a/b' is no name for a lun: a name consists of letters, digits and -_.:@+"},
    {"lun .a { store /a }", "1:5: '.a' is no name for a lun: a name begins with a letter or digit"},
    {"lun \"\" { store /a }", "1:5: '' is no name for a lun: a name has 1 to 64 characters"},
    /* stores */
    {"lun a { store srv/a }", "1:15: 'srv/a' is no store: write the whole path, from /"},
    {"lun a { store file:srv/a }", "1:15: 'file:srv/a' is no store: write the whole path, from /"},
    {"lun a { store rbd:pool/a }", "1:15: 'rbd:pool/a' is no store: this version knows file:"},
    {"lun a { store lvm:vg }", "1:15: 'lvm:vg' is no store: write lvm:VG/LV"},
    {"lun a { store ram:1GiB }", "1:15: 'ram:1GiB' is no store: write store ram: and its size apart"},
    {"lun a { store null; size 1GiB }", "1:15: 'null' is no store: write store null:"},
    /* identities */
    {"lun a { store /a; uuid 1 }", "1:24: '1' is no uuid: write it as 01234567-89ab-cdef-0123-456789abcdef"},
    {"lun a { store /a; uuid 00000000-0000-0000-0000-000000000000 }", "1:24: '00000000-0000-0000-0000-000000000000' is no uuid: all zeros"},
    {"lun a { store /a; naa 5001405a1b2c3d4e5f60718293a4b5c6 }", "1:23: '5001405a1b2c3d4e5f60718293a4b5c6' is no naa: an NAA-6 designator has 32"},
    {"lun a { store /a; naa 4001405A1b2c3d4e }", "1:23: '4001405A1b2c3d4e' is no naa: an NAA-6 designator has 32"},
    {"lun a { store /a; naa 6001405a }", "1:23: '6001405a' is no naa"},
    {"lun a { store /a; eui64 0000000000000000 }", "1:25: '0000000000000000' is no eui64: an EUI-64 has 16 hexadecimal digits, not all 0"},
    {"lun a { store /a; vendor NINECHARS }", "1:26: 'NINECHARS' is no vendor: it has 1 to 8 characters, this one 9"},
    {"lun a { store /a; serial \"\" }", "1:26: '' is no serial: it has 1 to 64 characters, this one 0"},
    {"lun a { store /a; serial \" a\" }", "1:26: ' a' is no serial: initiators cut blanks off"},
    {"lun a { store /a; serial \xc3\xa4 }", "1:26: '\xc3\xa4' is no serial: only printable ASCII"},
    {"lun a { store /a; serial \"a\\nb\" }", "1:26: 'a b' is no serial: only printable ASCII"},
    /* addresses */
    {"portal p { listen ::1 }", "1:19: listen: '::1': write an IPv6 address in brackets"},
    {"portal p { listen *:3260 }", "1:19: listen: '*:3260': write 0.0.0.0:3260 for all IPv4"},
    {"portal p { listen :3260 }", "1:19: listen: ':3260': say which address"},
    {"portal p { listen 10.0.0.256 }", "1:19: listen: '10.0.0.256': write 192.0.2.10:3260"},
    {"portal p { listen [10.0.0.1]:1 }", "1:19: listen: '[10.0.0.1]:1': write 192.0.2.10:3260"},
    {"portal p { listen [::1 }", "1:19: listen: '[::1': write"},
    {"portal p { listen [::1]x }", "1:19: listen: '[::1]x': write"},
    {"portal p { listen 10.0.0.1:65536 }", "1:19: listen: '10.0.0.1:65536': a port is a number"},
    {"portal p { listen 10.0.0.1: }", "1:19: listen: '10.0.0.1:': a port is a number"},
    {"portal p { listen ho_st }", "1:19: listen: 'ho_st': write"},
    {"initiators { allow 10.0.0.1/8 }", "1:20: allow: '10.0.0.1/8': bits behind the prefix aren't 0"},
    {"initiators { allow 10.0.0.0/33 }", "1:20: allow: '10.0.0.0/33': write 192.0.2.1"},
    {"initiators { deny host }", "1:19: deny: 'host': write 192.0.2.1"},
    {"initiators { deny [10.0.0.1] }", "1:19: deny: '[10.0.0.1]': write 192.0.2.1"},
    {"initiators { deny 2001:db8::/129 }", "1:19: deny: '2001:db8::/129': write"},
    /* paths */
    {"state_dir var", "1:11: 'var' is no state_dir: write the whole path, from /"},
    {"control /0123456789012345678901234567890123456789012345678901234567890123456789"
     "01234567890123456789012345678901234567",
	"1:9: '/012345678901234567890123456789012345678901234567890123456789012345678901234…' is "
	"no control: at most 107 bytes are possible"},
};

static void
each_mistake_has_its_place_and_its_cure(void **state)
{
	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++)
		expect_only(*state, cases[i].text, cases[i].message);
}

/* The same of targets, in a frame that is right otherwise. Line 4, column 2 is where it begins. */
static const struct {
	const char *text, *message;
} target_cases[] = {
    {"lun 0", "4:2: 'lun' takes a number and a name: write lun N NAME [read_only]"},
    {"lun x a", "4:6: 'x' is no LUN number: 0 to 16383"},
    {"lun 16384 a", "4:6: '16384' is no LUN number: 0 to 16383"},
    {"lun 1 b readonly", "4:10: 'readonly' can't stand here: only read_only can follow the name"},
    {"alias \"\"", "4:8: '' is no alias: it has 1 to 255 bytes, this one 0"},
    {"alias \"a\\nb\"", "4:8: 'a b' is no alias: it must be one line"},
    {"header_digest yes", "4:16: 'yes' is no header_digest that this version knows: required|offered"},
    {"group g { initiators \"a b\"; lun 0 a }", "4:23: initiators: 'a b': names have no blanks"},
    {"group g { lun 0 a }", "4:2: a group needs 'initiators': add initiators PATTERN ..."},
    {"group g { initiators; lun 0 a }", "4:12: 'initiators' needs at least one value: write initiators PATTERN ..."},
};
/* clang-format on */

static void
mistakes_in_targets(void **state)
{
	for (unsigned i = 0; i < sizeof target_cases / sizeof target_cases[0]; i++) {
		char text[512];
		snprintf(text, sizeof text,
		    "lun a { store /a } lun b { store /b }\nportal p { listen 10.0.0.1 }\n"
		    "target iqn.2026-11.a:b { portals p; open yes; lun 0 a\n %s }",
		    target_cases[i].text);
		struct fixture *f = *state;
		fixture_text(f, text);
		const char *begin = target_cases[i].message;
		/* Some are followed by another one that comes from them; the first is the point. */
		if (strncmp(f->messages, begin, strlen(begin)) != 0)
			fail_msg("%s: %s", text, f->messages);
	}
}

static void
names_of_targets(void **state)
{
	static const struct {
		const char *name, *why; /* NULL: right */
	} names[] = {
	    {"iqn.2026-11.com.example", NULL},
	    {"iqn.2026-12.x:a_b", NULL},
	    {"eui.02004567A425678D", NULL},
	    {"naa.52004567BA64678D", NULL},
	    {"naa.62004567BA64678D0123456789ABCDEF", NULL},
	    {"storage", "an iSCSI name begins with iqn., eui. or naa."},
	    {"iqn.2026-13.com.example", "write iqn.YEAR-MONTH.DOMAIN:NAME"},
	    {"iqn.2026-00.com.example", "write iqn.YEAR-MONTH.DOMAIN:NAME"},
	    {"iqn.26-11.com.example", "write iqn.YEAR-MONTH.DOMAIN:NAME"},
	    {"iqn.2026-11", "write iqn.YEAR-MONTH.DOMAIN:NAME"},
	    {"iqn.2026-11.", "write iqn.YEAR-MONTH.DOMAIN:NAME"},
	    {"iqn.2026-11.:x", "write iqn.YEAR-MONTH.DOMAIN:NAME"},
	    {"iqn.2026-11.a/b", "an iSCSI name consists of ASCII letters, digits and -.:_"},
	    {"eui.0200", "eui. is followed by 16 hexadecimal digits"},
	    {"naa.5200", "naa. is followed by 16 or 32 hexadecimal digits"},
	};
	for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
		struct fixture *f = *state;
		char text[256], expected[256];
		snprintf(text, sizeof text,
		    "lun a { store /a }\nportal p { listen 10.0.0.1 }\n"
		    "target %s { portals p; open yes; lun 0 a }",
		    names[i].name);
		fixture_text(f, text);
		assert_int_equal(f->errors.count, names[i].why != NULL);
		if (names[i].why == NULL)
			continue;
		snprintf(expected, sizeof expected, "3:8: '%s' is no name for a target: %s",
		    names[i].name, names[i].why);
		assert_memory_equal(f->messages, expected, strlen(expected));
	}
}

static void
a_long_word_is_shown_in_part(void **state)
{
	struct fixture *f = *state;
	char text[4096] = "loops ";
	for (unsigned i = 0; i < 1000; i++)
		strcat(text, "\xc3\xa4");
	fixture_text(f, text);
	assert_int_equal(f->errors.count, 1);
	assert_in_range(strlen(f->messages), 60, 160);
	assert_non_null(strstr(f->messages, "\xc3\xa4…' is no loops"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(lun_keys_go_where_they_belong),
	    TEST(lun_defaults),
	    TEST(stores_of_every_kind),
	    TEST(portals_get_their_port),
	    TEST(a_target_with_everything),
	    TEST(the_top_level),
	    TEST(an_empty_configuration),
	    TEST(each_mistake_has_its_place_and_its_cure),
	    TEST(mistakes_in_targets),
	    TEST(names_of_targets),
	    TEST(a_long_word_is_shown_in_part),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
