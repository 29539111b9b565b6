/* SPDX-License-Identifier: BSD-2-Clause */
/* Differences, what holds, and configurations as text. */
#include "tests/unit/conf/conf_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NAME "iqn.2026-11.example:t"

/* A configuration that stays while another is built. */
struct built {
	struct conf_errors errors;
	struct conf_tree *tree;
	struct conf *conf;
};

static void
build(struct built *b, const char *text)
{
	const struct conf_load_args args = {.text = text, .text_name = "t"};
	*b = (struct built){0};
	if (conf_load(&args, &b->errors, &b->tree, &b->conf) < 0)
		fail_msg("%s\n%u: %s", text, b->errors.list[0].pos.line, b->errors.list[0].text);
}

static void
drop(struct built *b)
{
	conf_destroy(b->conf);
	conf_tree_destroy(b->tree);
	conf_errors_fini(&b->errors);
}

/* "change lun a size:1MiB>2MiB" a line. */
static char *
diff_text(const struct conf *before, const struct conf *after)
{
	struct conf_diff *d = NULL;
	char *ret;
	size_t size;
	assert_int_equal(conf_diff(before, after, &d), 0);
	FILE *out = open_memstream(&ret, &size);
	for (unsigned i = 0; i < d->count; i++) {
		const struct conf_change *c = &d->list[i];
		assert_true((c->before == NULL) == (c->what == CONF_ADD || c->name[0] == '\0'));
		assert_true((c->after == NULL) == (c->what == CONF_REMOVE || c->name[0] == '\0'));
		fprintf(out, "%s %s %s%s%s", conf_what_to_string(c->what),
		    conf_kind_to_string(c->kind), c->name, c->target != NULL ? " of " : "",
		    c->target != NULL ? c->target : "");
		for (unsigned k = 0; k < c->key_count; k++)
			fprintf(out, " %s:%s>%s", c->keys[k].key,
			    c->keys[k].before != NULL ? c->keys[k].before : "-",
			    c->keys[k].after != NULL ? c->keys[k].after : "-");
		fputs("\n", out);
	}
	fclose(out);
	conf_diff_destroy(d);
	return ret;
}

static void
expect_diff(const char *before, const char *after, const char *expected)
{
	struct built was, is;
	build(&was, before);
	build(&is, after);
	char *got = diff_text(was.conf, is.conf);
	assert_string_equal(got, expected);
	free(got);
	drop(&is);
	drop(&was);
}

/* ---- differences ----------------------------------------------------------------------------- */

static void
what_means_the_same_is_no_difference(void **state)
{
	(void)state;
	expect_diff(
	    "lun a { store /a; size 2048 }\nlun b { store /b }\n# x\nlimits { depth_max 5 }",
	    "limits {\ndepth_max 5\nnop_timeout_ms 15000\nsend_queue_max_bytes 4096KiB\n}\n"
	    "lun b { block_size 512; store \"/b\"; mode writethrough; vendor TERRACE; read_only no "
	    "}\n"
	    "lun a { size 2KiB; store /a }",
	    "");
	/* Inside, or at the top level. */
	expect_diff("lun a { store /a }\nportal p { listen 1.2.3.4 }\ntarget " NAME
	            " { portals p; group g { initiators x; lun 0 a; user c }\n"
	            "chap c { secret abcdefghijkl } }",
	    "group g { target " NAME "; initiators x; lun 0 a; user c }\nportal p { listen "
	    "1.2.3.4:3260 }\nchap c { target " NAME "; secret abcdefghijkl; user c }\n"
	    "lun a { store /a }\ntarget " NAME " { portals p }\n",
	    "");
}

static void
values_change(void **state)
{
	(void)state;
	expect_diff("lun a { store /a; size 1MiB; serial from\\uuid }\nlun b { store /b }\n",
	    "lun b { store /c; read_only yes; thin no; rotational yes; physical_exponent 3 }\n"
	    "lun a { store /a; size 1536; mode volatile; serial \"from uuid\"; product \"A B\" }\n",
	    "change lun a size:1MiB>1536 mode:writethrough>volatile serial:from\\uuid>from uuid "
	    "product:VIRTUAL-DISK>A B\n"
	    "change lun b store:/b>/c physical_exponent:the store's>3 read_only:no>yes "
	    "rotational:the store's>yes thin:as the store can>no\n");
	/* Said, and the description of what holds when it isn't. */
	expect_diff("lun a { store /a }", "lun a { store /a; serial \"from uuid\" }",
	    "change lun a serial:from uuid>from uuid\n");
}

static void
settings_change(void **state)
{
	(void)state;
	expect_diff("loops 1; initiators { allow ALL }\nhooks { on all /a; on x /b }",
	    "loops 2; buffers 64MiB; events_max 500; limits { depth_max 5; ahs_max_bytes 0 }\n"
	    "inspect_rate unlimited\n"
	    "hooks { on x /b; on x /a; on y /c }\nstate_dir /x",
	    "change settings  initiators.allow:ALL>everybody loops:1>2 buffers:1/16 of memory, "
	    "64MiB to 1GiB>64MiB state_dir:/var/lib/terrace as root, else "
	    "~/.local/state/terrace>/x inspect_rate:auto>unlimited hooks.on.all:/a>- "
	    "hooks.on.x:/b>/a /b hooks.on.y:->/c "
	    "events_max:10000>500 limits.ahs_max_bytes:64>0 limits.depth_max:128>5\n");
}

static void
objects_come_and_go(void **state)
{
	(void)state;
	expect_diff("lun a { store /a; size 1MiB }\nportal p { listen 1.2.3.4 }\n",
	    "lun b { store /a }\nportal p { listen 1.2.3.4 1.2.3.5 }\n"
	    "target " NAME " { portals p; open yes; lun 0 b }\n"
	    "discovery { chap d { secret abcdefghijkl } }\n"
	    "group g { target " NAME "; order 5; initiators x y; lun 7 b read_only; user c }\n"
	    "chap c { target " NAME "; secret abcdefghijkl; mutual_user m; mutual_secret "
	    "abcdefghijkm }\n",
	    "change portal p listen:1.2.3.4:3260>1.2.3.4:3260 1.2.3.5:3260\n"
	    "remove lun a store:/a>- size:1MiB>-\n"
	    "add lun b store:->/a\n"
	    "add target " NAME " portals:->p open:->yes lun.0:->b\n"
	    "add chap d user:->d secret:->(secret)\n"
	    "add chap c of " NAME " user:->c secret:->(secret) mutual_user:->m "
	    "mutual_secret:->(secret)\n"
	    "add group g of " NAME " order:->5 initiators:->x y user:->c lun.7:->b read_only\n");
}

static void
secrets_change_and_arent_shown(void **state)
{
	(void)state;
	expect_diff("discovery { chap d { secret abcdefghijkl } }",
	    "discovery { chap d { secret abcdefghijkm; mutual_user m; mutual_secret "
	    "abcdefghijkn } }",
	    "change chap d secret:(secret)>(secret) mutual_user:none>m "
	    "mutual_secret:none>(secret)\n");
}

#define GROUPS(a, b, c)                                                                            \
	"lun a { store /a }\nportal p { listen 1.2.3.4 }\ntarget " NAME " { portals p\n" a b c     \
	" }\n"
#define G(x) "group " x " { initiators " x "; lun 0 a }\n"

static void
the_order_of_groups_is_a_difference(void **state)
{
	(void)state;
	expect_diff(GROUPS(G("x"), G("y"), G("z")), GROUPS(G("y"), G("w"), G("x")),
	    "change target " NAME " groups:x y>y x\n"
	    "add group w of " NAME " initiators:->w lun.0:->a\n"
	    "remove group z of " NAME " initiators:z>- lun.0:a>-\n");
	expect_diff(GROUPS(G("x"), G("y"), ""), GROUPS(G("w"), G("x"), G("y")),
	    "add group w of " NAME " initiators:->w lun.0:->a\n");
}

static void
a_thousand_luns(void **state)
{
	(void)state;
	char *text[2];
	struct built b[2];
	struct timespec from, to;
	for (unsigned n = 0; n < 2; n++) {
		size_t size;
		FILE *out = open_memstream(&text[n], &size);
		fprintf(out, "portal p { listen 1.2.3.4 }\ntarget " NAME " { portals p\n");
		fprintf(out, "group g { initiators x\n");
		for (unsigned i = 0; i < 1000; i++)
			fprintf(out, "lun %u l%u\n", i, i);
		fprintf(out, "} }\n");
		for (unsigned i = 0; i < 1000; i++)
			fprintf(out, "lun l%u { store /l%u; read_only %s }\n", i, i,
			    n == 1 && i == 500 ? "yes" : "no");
		fclose(out);
		build(&b[n], text[n]);
		free(text[n]);
	}
	clock_gettime(CLOCK_MONOTONIC, &from);
	char *got = diff_text(b[0].conf, b[1].conf);
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("1000 LUNs: %.1f ms\n",
	    (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6);
	assert_string_equal(got, "change lun l500 read_only:no>yes\n");
	free(got);
	drop(&b[0]);
	drop(&b[1]);
}

static void
a_change_is_asked_for_its_keys(void **state)
{
	(void)state;
	struct built was, is;
	struct conf_diff *d;
	build(&was, "lun a { store /a }");
	build(&is, "lun a { store /b }");
	assert_int_equal(conf_diff(was.conf, is.conf, &d), 0);
	assert_int_equal(d->count, 1);
	assert_true(conf_change_has(&d->list[0], "store"));
	assert_false(conf_change_has(&d->list[0], "size"));
	assert_false(conf_change_has(NULL, "size"));
	assert_ptr_equal(d->list[0].before, &was.conf->luns[0]);
	assert_ptr_equal(d->list[0].after, &is.conf->luns[0]);
	conf_diff_destroy(d);
	drop(&is);
	drop(&was);
}

/* ---- text ------------------------------------------------------------------------------------ */

static const char everything[] =
    "loops 2; buffers 65MiB; state_dir \"/x y\"; control /c; events_max 777\n"
    "inspect_rate 5MiB\n"
    "limits { depth_max 5; ahs_max_bytes 0; send_queue_max_bytes 1048577 }\n"
    "hooks { on all /a; on x \"/b c\"; on x /a }\n"
    "initiators { allow 10.0.0.0/8 ALL; deny 10.0.0.1 }\n"
    "lun a { store /a; size 1025KiB; mode volatile; uuid 01234567-89ab-cdef-0123-456789abcdef\n"
    "naa 60123456789abcdef0123456789abcde; eui64 0x0123456789abcdef; serial \"a # b\"\n"
    "t10_id \"{\"; vendor \"q\\\"q\"; product \"b\\\\ \\\\\"; revision ;\n revision 1\n"
    "block_size 512; physical_exponent 3; read_only yes; removable yes; rotational no; thin yes\n"
    "sanitize yes }\nlun b { store ram:; size 1MiB; thin no }\n"
    "portal p { listen 10.0.0.1 [::1]:3261; protocol iscsi }\nportal q { listen host:0 }\n"
    "target " NAME " { alias \"a b\"; portals p q; open yes; lun 3 a; lun 1 b read_only\n"
    "initiators { deny 10.0.0.2 }\nheader_digest required; data_digest offered\n"
    "chap c { user \"C c\"; secret \"abcdefghijk \\\"\"; mutual_user m; mutual_secret "
    "abcdefghijkm }\n group g { initiators a* \"!b\"; initiators c; user c d; lun 0 a }\n"
    "group f { initiators x; lun 16383 b } }\n"
    "chap d { target " NAME "; secret abcdefghijkl }\n"
    "group e { target " NAME "; order 3; initiators e; lun 0 a }\n"
    "group h { target " NAME "; initiators h; lun 0 a }\n"
    "discovery { chap x { secret abcdefghijkl } }\nchap y { discovery yes; secret abcdefghijkm }\n";

static void
a_configuration_as_text_is_the_same_configuration(void **state)
{
	(void)state;
	struct built was, is;
	char *whole = strdup(everything), *cut = strstr(whole, "revision ;\n");
	memset(cut, ' ', strlen("revision ;"));
	build(&was, whole);
	free(whole);
	char *text = conf_text(was.conf);
	build(&is, text);
	char *got = diff_text(was.conf, is.conf);
	assert_string_equal(got, "");
	free(got);
	char *again = conf_text(is.conf);
	assert_string_equal(again, text);
	/* Everything in it was looked at: nothing of it is missing against an empty one. */
	struct built empty;
	build(&empty, "");
	got = diff_text(empty.conf, is.conf);
	for (const char *const *word = (const char *const[]){"send_queue_max_bytes:4MiB>1048577",
	         "hooks.on.x:->/a /b c", "size:->1025KiB", "lun.16383:->b", "order:->3",
	         "user:->C c", "add chap y ", "physical_exponent:->3", "thin:->no", NULL};
	     *word != NULL; word++)
		if (strstr(got, *word) == NULL)
			fail_msg("%s isn't in %s", *word, got);
	free(got);
	drop(&empty);
	conf_text_destroy(again);
	conf_text_destroy(text);
	drop(&is);
	drop(&was);
}

/* As options.c makes one: no tree, paths from here, names of users that objects can't have. */
static void
a_command_line_as_text(void **state)
{
	(void)state;
	static char store[] = "file:x.img", lun[] = "lun0", portal[] = "default",
	            listen[] = "[::1]:3260", target[] = NAME, user[] = "a b",
	            secret[] = "abcdefghijkl", all[] = "*", group[] = "users";
	static char *listens[] = {listen}, *portals[] = {portal}, *users[] = {user}, *any[] = {all};
	struct conf_lun l = {.name = lun,
	    .store = store,
	    .size_bytes = 1024,
	    .block_size = 512,
	    .physical_exponent = -1,
	    .thin = -1,
	    .mode = CONF_MODE_VOLATILE};
	struct conf_portal p = {.name = portal, .listen = listens, .listen_count = 1};
	struct conf_group_lun line = {.number = 0, .lun = lun};
	struct conf_chap c = {.name = user, .user = user, .secret = secret};
	struct conf_group g = {.name = group,
	    .initiators = any,
	    .initiator_count = 1,
	    .users = users,
	    .user_count = 1,
	    .luns = &line,
	    .lun_count = 1};
	struct conf_target t = {.name = target,
	    .portals = portals,
	    .portal_count = 1,
	    .chaps = &c,
	    .chap_count = 1,
	    .groups = &g,
	    .group_count = 1};
	struct conf conf = {.luns = &l,
	    .lun_count = 1,
	    .portals = &p,
	    .portal_count = 1,
	    .targets = &t,
	    .target_count = 1};
	struct built is;
	char *text = conf_text(&conf);
	build(&is, text);
	assert_string_equal(is.conf->targets[0].chaps[0].user, "a b");
	assert_string_equal(is.conf->targets[0].groups[0].users[0], "user-0");
	assert_true(strncmp(is.conf->luns[0].store, "file:/", 6) == 0);
	assert_int_equal(is.conf->luns[0].mode, CONF_MODE_VOLATILE);
	assert_int_equal(is.conf->luns[0].owner, CONF_OWNER_COMMAND_LINE);
	conf_text_destroy(text);
	drop(&is);
}

/* ---- what holds ------------------------------------------------------------------------------ */

static int
write_value(void *ctx, const struct conf_value *v)
{
	if (!v->is_default)
		fprintf(ctx, "%s %s%s%s %s=%s (%s, %s)\n", conf_kind_to_string(v->kind), v->name,
		    v->target != NULL ? "@" : "", v->target != NULL ? v->target : "", v->key,
		    v->value, v->origin, conf_owner_to_string(v->owner));
	else
		assert_string_equal(v->origin, "default");
	return 0;
}

static int
count_value(void *ctx, const struct conf_value *v)
{
	(void)v;
	unsigned *count = ctx;
	(*count)++;
	return 0;
}

static int
stop_at_once(void *ctx, const struct conf_value *v)
{
	(void)v;
	(*(unsigned *)ctx)++;
	return 7;
}

static void
every_value_has_its_origin(void **state)
{
	struct fixture *f = *state;
	char *got;
	size_t size;
	fixture_file(f, "secret", "abcdefghijkl", 0600);
	fixture_file(f, "t.conf",
	    "limits {\ndepth_max 128\n}\nhooks { on all /x }\nportal p { listen 1.2.3.4 }\n"
	    "target " NAME " { portals p\n chap c { secret_file secret }\n"
	    "group g { initiators x\nuser c\nlun 0 a\n\nlun 1 b read_only } }\n",
	    0600);
	fixture_dir_file(f, "conf.d/lun-a.conf", "lun a {\n\tstore /a\n}\n", 0600);
	fixture_dir_file(
	    f, "conf.d/lun-b.conf", "lun b {\n\tstore /b\n\tmode writethrough\n}\n", 0600);
	fixture_load(f, "t.conf", NULL, 0);
	assert_string_equal(f->messages, "");
	FILE *out = open_memstream(&got, &size);
	assert_int_equal(conf_effective(f->conf, write_value, out), 0);
	fclose(out);
	for (char *dir; (dir = strstr(got, f->dir)) != NULL;)
		memmove(dir, dir + strlen(f->dir) + 1, strlen(dir + strlen(f->dir)));
	assert_string_equal(got, "settings  hooks.on.all=/x (t.conf:4, administrator)\n"
	                         "settings  limits.depth_max=128 (t.conf:2, administrator)\n"
	                         "portal p listen=1.2.3.4:3260 (t.conf:5, administrator)\n"
	                         "lun a store=/a (conf.d/lun-a.conf:2, commands)\n"
	                         "lun b store=/b (conf.d/lun-b.conf:2, commands)\n"
	                         "lun b mode=writethrough (conf.d/lun-b.conf:3, commands)\n"
	                         "target " NAME " portals=p (t.conf:6, administrator)\n"
	                         "chap c@" NAME " secret_file=secret (t.conf:7, administrator)\n"
	                         "group g@" NAME " initiators=x (t.conf:8, administrator)\n"
	                         "group g@" NAME " user=c (t.conf:9, administrator)\n"
	                         "group g@" NAME " lun.0=a (t.conf:10, administrator)\n"
	                         "group g@" NAME " lun.1=b read_only (t.conf:12, administrator)\n");
	free(got);
	unsigned count = 0;
	assert_int_equal(conf_effective(f->conf, count_value, &count), 0);
	assert_in_range(count, 70, 100);
	count = 0;
	assert_int_equal(conf_effective(f->conf, stop_at_once, &count), 7);
	assert_int_equal(count, 1);
}

static void
a_secret_is_shown_nowhere(void **state)
{
	(void)state;
	struct built b;
	char *got;
	size_t size;
	build(&b, "discovery { chap c { secret SECRETSECRET; mutual_user m; mutual_secret "
	          "secretsecret } }");
	FILE *out = open_memstream(&got, &size);
	assert_int_equal(conf_effective(b.conf, write_value, out), 0);
	fclose(out);
	assert_null(strcasestr(got, "secretsecret"));
	assert_non_null(strstr(got, "secret=(secret)"));
	assert_non_null(strstr(got, "mutual_secret=(secret)"));
	free(got);
	drop(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(what_means_the_same_is_no_difference),
	    TEST(values_change),
	    TEST(settings_change),
	    TEST(objects_come_and_go),
	    TEST(secrets_change_and_arent_shown),
	    TEST(the_order_of_groups_is_a_difference),
	    TEST(a_thousand_luns),
	    TEST(a_change_is_asked_for_its_keys),
	    TEST(a_configuration_as_text_is_the_same_configuration),
	    TEST(a_command_line_as_text),
	    TEST(every_value_has_its_origin),
	    TEST(a_secret_is_shown_nowhere),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
