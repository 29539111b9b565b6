/* SPDX-License-Identifier: BSD-2-Clause */
/* The words of scstadmin: a table of its orders, old and new, and what they mean here. */
#include <ctype.h>
#include <string.h>

#include "base/text.h"
#include "tools/scstadmin/scstadmin.h"

#define WORD_MAX 40u
#define NEEDS(o) (1u << (OPT_##o))

static const struct {
	const char *name; /* as verbs' names are */
	const char *shown;
	enum scst_option option;
} options[] = {
    {"handler", "-handler", OPT_HANDLER},
    {"path", "-path", OPT_PATH},
    {"options", "-options", OPT_OPTIONS},
    {"blocksize", "-blocksize", OPT_BLOCKSIZE},
    {"attributes", "-attributes", OPT_ATTRIBUTES},
    {"driver", "-driver", OPT_DRIVER},
    {"target", "-target", OPT_TARGET},
    {"group", "-group", OPT_GROUP},
    {"lun", "-lun", OPT_LUN},
    {"device", "-device", OPT_DEVICE},
    {"dev", "-device", OPT_DEVICE},
    {"to", "-to", OPT_TO},
    {"devgroup", "-dev_group", OPT_DGRP},
    {"dgrp", "-dev_group", OPT_DGRP},
    {"tgtgroup", "-tgt_group", OPT_TGRP},
    {"tgrp", "-tgt_group", OPT_TGRP},
};

static const char alua[] =
    "there are no device groups: all ports of all LUNs are active and as good as each other";
static const char bound[] =
    "threads aren't bound to processors: `loops` in terrace.conf(5) is their number";
static const char attributes_of_all[] =
    "threads serve all LUNs: `loops` and `limits` in terrace.conf(5) are what can be set";

/* clang-format off */
const struct scst_verb scst_verbs[] = {
	/* devices */
	{"opendev", "-open_dev NAME -handler HANDLER -attributes filename=PATH,…", NAME_NEEDED,
	    NEEDS(HANDLER), scst_open_dev, NULL},
	{"adddev", "-adddev NAME -handler vdisk -path PATH [-options …] [-blocksize N]", NAME_NEEDED,
	    NEEDS(HANDLER), scst_open_dev, NULL},
	{"closedev removedev", "-close_dev NAME, -RemoveDev NAME", NAME_NEEDED, 0, scst_close_dev, NULL},
	{"resyncdev", "-resync_dev NAME", NAME_NEEDED, 0, scst_resync_dev, NULL},
	{"setdevattr", "-set_dev_attr NAME -attributes …", NAME_NEEDED, NEEDS(ATTRIBUTES), scst_set_dev_attr,
	    NULL},
	{"adddevattr", "-add_dev_attr NAME -attributes …", NAME_NEEDED, NEEDS(ATTRIBUTES), scst_set_dev_attr,
	    NULL},
	{"remdevattr", "-rem_dev_attr NAME -attributes …", NAME_NEEDED, 0, scst_say_none,
	    "`terracectl lun set NAME KEY --default` is the way back to the default of a key"},
	{"sett10deviceid", "-SetT10DeviceId ID -device NAME", NAME_NEEDED, NEEDS(DEVICE), scst_set_t10_id,
	    NULL},

	/* targets */
	{"addtarget addvirttarget", "-add_target NAME -driver iscsi", NAME_NEEDED, NEEDS(DRIVER),
	    scst_add_target, NULL},
	{"remtarget remvirttarget", "-rem_target NAME -driver iscsi", NAME_NEEDED, 0, scst_rem_target, NULL},
	{"enabletarget enable", "-enable_target NAME, -enable NAME", NAME_NEEDED, 0, scst_enable, NULL},
	{"disabletarget disable", "-disable_target NAME, -disable NAME", NAME_NEEDED, 0, scst_disable, NULL},
	{"settgtattr addtgtattr", "-set_tgt_attr NAME, -add_tgt_attr NAME -attributes …", NAME_NEEDED,
	    NEEDS(ATTRIBUTES), scst_add_tgt_attr, NULL},
	{"remtgtattr", "-rem_tgt_attr NAME -attributes …", NAME_NEEDED, NEEDS(ATTRIBUTES), scst_rem_tgt_attr,
	    NULL},
	{"setdrvattr adddrvattr", "-set_drv_attr DRIVER, -add_drv_attr DRIVER -attributes …", NAME_NEEDED,
	    NEEDS(ATTRIBUTES), scst_add_drv_attr, NULL},
	{"remdrvattr", "-rem_drv_attr DRIVER -attributes …", NAME_NEEDED, NEEDS(ATTRIBUTES),
	    scst_rem_drv_attr, NULL},

	/* groups */
	{"addgroup", "-add_group NAME [-driver iscsi -target TARGET]", NAME_NEEDED, 0, scst_add_group, NULL},
	{"remgroup removegroup", "-rem_group NAME, -RemoveGroup NAME", NAME_NEEDED, 0, scst_rem_group, NULL},
	{"renamegroup", "-renamegroup NAME -to NAME", NAME_NEEDED, NEEDS(TO), scst_say_none,
	    "a group keeps its name; nothing but people sees it. `terracectl group create` makes another"},
	{"addinit adduser", "-add_init PATTERN, -adduser PATTERN -group GROUP", NAME_NEEDED, NEEDS(GROUP),
	    scst_add_init, NULL},
	{"reminit removeuser", "-rem_init PATTERN, -RemoveUser PATTERN -group GROUP", NAME_NEEDED,
	    NEEDS(GROUP), scst_rem_init, NULL},
	{"moveinit moveuser", "-move_init PATTERN, -MoveUser PATTERN -group GROUP -to GROUP", NAME_NEEDED,
	    NEEDS(GROUP) | NEEDS(TO), scst_move_init, NULL},
	{"clearinits clearusers", "-clear_inits, -ClearUsers -group GROUP", NAME_NONE, NEEDS(GROUP),
	    scst_clear_inits, NULL},
	{"setgrpattr addgrpattr remgrpattr", "-set_grp_attr NAME", NAME_NEEDED, 0, scst_say_none, bound},
	{"setinitattr addinitattr reminitattr", "-set_init_attr NAME", NAME_NEEDED, 0, scst_say_none,
	    "an initiator is a pattern of its group and has no attributes"},

	/* LUNs */
	{"addlun", "-add_lun N -driver iscsi -target TARGET [-group GROUP] -device NAME", NAME_NEEDED,
	    NEEDS(DEVICE), scst_add_lun, NULL},
	{"assigndev", "-assigndev NAME -group GROUP -lun N [-options READ_ONLY]", NAME_NEEDED,
	    NEEDS(GROUP) | NEEDS(LUN), scst_assign_dev, NULL},
	{"remlun", "-rem_lun N -driver iscsi -target TARGET [-group GROUP]", NAME_NEEDED, 0, scst_rem_lun,
	    NULL},
	{"releasedev", "-ReleaseDev NAME -group GROUP", NAME_NEEDED, NEEDS(GROUP), scst_release_dev, NULL},
	{"replacelun replacedev", "-replace_lun N … -device NAME, -ReplaceDev NAME -group GROUP -lun N",
	    NAME_NEEDED, 0, scst_replace_lun, NULL},
	{"clearluns cleardevs", "-clear_luns, -ClearDevs [-group GROUP]", NAME_NONE, 0, scst_clear_luns,
	    NULL},
	{"setlunattr addlunattr", "-set_lun_attr N … -attributes read_only=1", NAME_NEEDED, NEEDS(ATTRIBUTES),
	    scst_set_lun_attr, NULL},
	{"remlunattr", "-rem_lun_attr N", NAME_NEEDED, 0, scst_say_none,
	    "-set_lun_attr with read_only=0 takes the one attribute back that a line has"},

	/* the whole */
	{"config forceconfig", "-config FILE", NAME_OPTIONAL, 0, scst_config, NULL},
	{"checkconfig", "-check_config FILE", NAME_NEEDED, 0, scst_check_config, NULL},
	{"writeconfig", "-write_config [FILE], -WriteConfig [FILE]", NAME_OPTIONAL, 0, scst_write_config, NULL},
	{"clearconfig", "-clear_config, -ClearConfig [-noprompt]", NAME_OPTIONAL, 0, scst_clear_config, NULL},

	/* looking */
	{"listsessions sessions", "-list_sessions, -sessions", NAME_NONE, 0, scst_look, "session list"},
	{"listdevice listdevices listdevattr", "-list_device [NAME]", NAME_OPTIONAL, 0, scst_look, "lun list"},
	{"listtarget listtargets listtgtattr", "-list_target [NAME]", NAME_OPTIONAL, 0, scst_look,
	    "target list"},
	{"listgroup listgroups listgrpattr listlunattr listinitattr", "-list_group [NAME]", NAME_OPTIONAL, 0,
	    scst_look, "group list"},
	{"listdriver listdrivers listdrvattr", "-list_driver", NAME_OPTIONAL, 0, scst_look, "portal list"},
	{"listscstattr", "-list_scst_attr", NAME_NONE, 0, scst_look, "config"},
	{"listhandler listhandlers listhnd listhndattr", "-list_handler", NAME_OPTIONAL, 0, scst_say_nothing,
	    "a LUN is served from a file (vdisk_fileio), a device (vdisk_blockio) or nothing "
	    "(vdisk_nullio), by what its store is; `terracectl lun list` shows which"},

	/* what there isn't */
	{"setscstattr addscstattr remscstattr", "-set_scst_attr", NAME_OPTIONAL, 0, scst_say_none,
	    attributes_of_all},
	{"sethndattr addhndattr remhndattr", "-set_hnd_attr", NAME_OPTIONAL, 0, scst_say_none,
	    attributes_of_all},
	{"adddgrp remdgrp listdgrp adddgrpdev remdgrpdev cleardgrpdevs setdgrpattr", "-add_dgrp NAME",
	    NAME_OPTIONAL, 0, scst_say_none, alua},
	{"addtgrp remtgrp listtgrp addtgrptgt remtgrptgt cleartgrptgts settgrpattr settgrptgtattr "
	 "settgttgrpattr settgtgrpattr", "-add_tgrp NAME", NAME_OPTIONAL, 0, scst_say_none, alua},
	{"issuelip", "-issue_lip", NAME_OPTIONAL, 0, scst_say_none,
	    "it is of Fibre Channel, which isn't served; iSCSI initiators rescan"},
	{.names = NULL},
};
/* clang-format on */

/* ---- words ------------------------------------------------------------------------------------------- */

/* "--WriteConfig" → "writeconfig"; words that are too long for any become "". */
static void
bare(const char *word, size_t len, char *ret)
{
	size_t n = 0;

	for (size_t i = 0; i < len && n < WORD_MAX; i++)
		if (word[i] != '_' && !(word[i] == '-' && n == 0))
			ret[n++] = (char)tolower((unsigned char)word[i]);
	ret[n < WORD_MAX ? n : 0] = '\0';
}

static bool
has_name(const struct scst_verb *v, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = v->names; len > 0 && *at != '\0';) {
		size_t n = strcspn(at, " ");
		if (n == len && strncmp(at, name, n) == 0)
			return true;
		at += n + (at[n] == ' ');
	}
	return false;
}

static const struct scst_verb *
find_verb(const char *name)
{
	for (const struct scst_verb *v = scst_verbs; v->names != NULL; v++)
		if (has_name(v, name))
			return v;
	return NULL;
}

static bool
wrong(const char *before, const char *word, const char *after)
{
	fprintf(stderr, "terracectl scstadmin: %s", before);
	out_text(stderr, word);
	fprintf(stderr, "%s\n", after);
	return false;
}

static bool
unknown(const char *word, const char *name)
{
	const char *known[256] = {NULL};
	char texts[256][WORD_MAX + 1];
	char message[96];
	unsigned n = 0;

	for (const struct scst_verb *v = scst_verbs; v->names != NULL; v++)
		for (const char *at = v->names; *at != '\0' && n < 230;) {
			size_t len = strcspn(at, " ");
			snprintf(texts[n], sizeof texts[n], "%.*s", (int)len, at);
			known[n] = texts[n];
			n++;
			at += len + (at[len] == ' ');
		}
	for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
		known[n++] = options[i].name;
	const char *near = text_nearest(name, known);
	if (near == NULL)
		return wrong(
		    "scstadmin has no ", word, "; `terracectl scstadmin --help` lists its orders");
	snprintf(message, sizeof message, "; did you mean -%s?", near);
	return wrong("scstadmin has no ", word, message);
}

/* Words that stand alone. False: it is none of them. */
static bool
set_switch(struct scst_order *o, const char *name)
{
	if (strcmp(name, "force") == 0 || strcmp(name, "noprompt") == 0)
		o->sure = true;
	else if (strcmp(name, "contonerr") == 0)
		o->goes_on = true;
	else if (strcmp(name, "nonkey") != 0 && strcmp(name, "debug") != 0)
		return false;
	return true;
}

/* The value behind "=", or the next word. NULL: there is none. */
static const char *
value_of(char *const *words, int count, const char *equals, int *used)
{
	*used = 1;
	if (equals != NULL)
		return equals + 1;
	if (count < 2 || (words[1][0] == '-' && words[1][1] != '\0'))
		return NULL;
	*used = 2;
	return words[1];
}

/* Words taken, or -1. */
static int
parse_word(char *const *words, int count, struct scst_order *o)
{
	const char *equals = strchr(words[0], '=');
	size_t len = equals != NULL ? (size_t)(equals - words[0]) : strlen(words[0]);
	char name[WORD_MAX + 1];
	int used;

	if (words[0][0] != '-')
		return wrong("one word too many: ", words[0], "") - 1;
	bare(words[0], len, name);
	for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
		if (strcmp(options[i].name, name) != 0)
			continue;
		const char **place = &o->value[options[i].option];
		if (*place != NULL)
			return wrong(options[i].shown, " is given twice", "") - 1;
		*place = value_of(words, count, equals, &used);
		return *place != NULL ? used : wrong(options[i].shown, " needs a value", "") - 1;
	}
	const struct scst_verb *v = find_verb(name);
	if (v == NULL && set_switch(o, name))
		return 1;
	if (v == NULL)
		return unknown(words[0], name) - 1;
	if (o->verb != NULL)
		return wrong("one order at a time: ", words[0], " is a second one") - 1;
	o->verb = v;
	o->typed = words[0] + strspn(words[0], "-");
	if (v->name == NAME_NONE)
		return 1;
	o->name = value_of(words, count, equals, &used);
	if (o->name == NULL && v->name == NAME_NEEDED)
		return wrong(words[0], " needs a value: ", v->shown) - 1;
	return used;
}

/* Options of terracectl's own. Words taken; 0: none; -1: wrong. */
static int
parse_own(struct tool *t, char *const *words, int count)
{
	if (strcmp(words[0], "--dry-run") == 0)
		t->dry_run = true;
	else if (strcmp(words[0], "--yes") == 0)
		t->yes = true;
	else if (strcmp(words[0], "--runtime") == 0)
		t->runtime = true;
	else if (strcmp(words[0], "-help") == 0)
		t->help = true;
	else
		return words[0][0] == '-' ? args_global(t, words, count) : 0;
	return 1;
}

bool
scst_parse(struct tool *t, char *const *words, int count, struct scst_order *ret)
{
	struct scst_order o = {0};

	for (int i = 0; i < count;) {
		int used = parse_own(t, words + i, count - i);
		if (used == 0)
			used = parse_word(words + i, count - i, &o);
		if (used < 0)
			return false;
		i += used;
	}
	*ret = o;
	if (t->help)
		return true;
	if (o.verb == NULL)
		return wrong(
		    "what is to be done? `terracectl scstadmin --help` lists the orders", "", "");
	for (unsigned n = 0; n < OPT_COUNT; n++) {
		size_t i = 0;
		while (options[i].option != n)
			i++;
		if ((o.verb->needs & 1u << n) != 0 && o.value[n] == NULL)
			return wrong(options[i].shown, " is missing: ", o.verb->shown);
	}
	return true;
}

/* ---- help, completion -------------------------------------------------------------------------------- */

void
scst_print_help(void)
{
	puts("\nOrders of scstadmin, in its present and its old words:\n");
	for (const struct scst_verb *v = scst_verbs; v->names != NULL; v++)
		if (v->run != scst_say_none)
			printf("  %s\n", v->shown);
	puts("\nOf these nothing is there to be ordered, and why is said (exit status 3):\n");
	for (const struct scst_verb *v = scst_verbs; v->names != NULL; v++)
		if (v->run == scst_say_none)
			printf("  %s\n", v->shown);
	puts("\nSwitches: -noprompt and -force are --yes; -cont_on_err; -nonkey and -debug do "
	     "nothing.");
}

/* The spellings in `shown`: all words that begin with a dash. */
static void
offer_shown(const char *shown, const char *typed)
{
	char word[WORD_MAX + 1];

	for (const char *at = shown; *at != '\0';) {
		size_t len = strcspn(at, " ,[");
		snprintf(word, sizeof word, "%.*s", (int)len, at);
		if (word[0] == '-' && strncmp(word, typed, strlen(typed)) == 0)
			puts(word);
		at += len + (at[len] != '\0');
	}
}

void
scst_complete(char *const *words, int count)
{
	const struct scst_verb *v = NULL;
	const char *typed = words[count - 1];
	char name[WORD_MAX + 1];

	for (int i = 0; i < count - 1 && v == NULL; i++) {
		bare(words[i], strlen(words[i]), name);
		v = words[i][0] == '-' ? find_verb(name) : NULL;
	}
	if (typed[0] != '-' && typed[0] != '\0')
		return;
	if (v != NULL) {
		if (typed[0] == '-')
			offer_shown(v->shown, typed);
		return;
	}
	for (v = scst_verbs; v->names != NULL; v++) {
		/* Its options come when the order is there. */
		char first[WORD_MAX + 1];
		for (const char *at = v->shown; at != NULL;) {
			snprintf(first, sizeof first, "%.*s", (int)strcspn(at, " ,["), at);
			offer_shown(first, typed);
			at = strstr(at, ", -");
			at = at != NULL ? at + 2 : NULL;
		}
	}
}
