/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line: what each option does, what is refused, and that a refusal says the cure. */
#include "tests/cmocka_all.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/options.h"
#include "tests/unit/daemon/tmpdir.h"

#define ARGS_MAX 40

static struct tmpdir tmp;
static const char *const dir = tmp.path;
static char said[8192]; /* stdout and stderr of the last parse() */
static struct options o;

/* Everything that a call prints goes into `said`. */
static int
parse_list(const char *const *args, unsigned count)
{
	char *argv[ARGS_MAX + 2], path[300];
	int out = dup(1), err = dup(2);

	assert_true(count <= ARGS_MAX);
	argv[0] = strdup("terraced");
	for (unsigned i = 0; i < count; i++)
		argv[i + 1] = strdup(args[i]);
	argv[count + 1] = NULL;
	snprintf(path, sizeof path, "%s/said", dir);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	fflush(stdout);
	dup2(fd, 1);
	dup2(fd, 2);
	int status = options_parse((int)count + 1, argv, &o);
	fflush(stdout);
	fflush(stderr);
	dup2(out, 1);
	dup2(err, 2);
	close(out);
	close(err);
	ssize_t n = pread(fd, said, sizeof said - 1, 0);
	assert_true(n >= 0);
	said[n] = '\0';
	close(fd);
	unlink(path);
	/* Values are borrowed from argv: it stays for the test. */
	static char *kept[ARGS_MAX + 2];
	for (unsigned i = 0; kept[i] != NULL; i++)
		free(kept[i]);
	memcpy(kept, argv, sizeof(char *) * (count + 2));
	return status;
}

#define parse(...)                                                                                 \
	parse_list((const char *const[]){__VA_ARGS__},                                             \
	    sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

/* The command line serves; the caller ends with options_fini(). */
#define accept(...)                                                                                \
	do {                                                                                       \
		int status_ = parse(__VA_ARGS__);                                                  \
		assert_string_equal(said, "");                                                     \
		assert_int_equal(status_, -1);                                                     \
	} while (0)

/* The command line is refused, with this in what is said. */
#define refuse(text, ...)                                                                          \
	do {                                                                                       \
		assert_int_equal(parse(__VA_ARGS__), EXIT_USAGE);                                  \
		if (strstr(said, text) == NULL)                                                    \
			fail_msg("'%s' isn't in: %s", text, said);                                 \
		assert_non_null(strstr(said, "--help"));                                           \
	} while (0)

static const struct conf_target *
target(void)
{
	return &o.conf->targets[0];
}

static void
assert_lun(unsigned i, const char *store, uint64_t size)
{
	assert_true(i < o.conf->lun_count);
	assert_string_equal(o.conf->luns[i].store, store);
	assert_int_equal(o.conf->luns[i].size_bytes, size);
}

/* ---- the stores ------------------------------------------------------------------------------------ */

static void
a_lun_is_enough(void **state)
{
	(void)state;
	accept("--lun", "/srv/a.img");
	assert_int_equal(o.conf->lun_count, 1);
	assert_lun(0, "/srv/a.img", 0);
	assert_string_equal(o.conf->luns[0].name, "lun0");
	assert_int_equal(o.conf->luns[0].block_size, 512);
	assert_false(o.conf->luns[0].read_only);
	assert_int_equal(o.conf->target_count, 1);
	assert_string_equal(target()->name, DAEMON_DEFAULT_NAME);
	assert_true(target()->open);
	assert_int_equal(target()->lun_count, 1);
	assert_int_equal(target()->luns[0].number, 0);
	assert_string_equal(target()->luns[0].lun, "lun0");
	assert_int_equal(o.conf->portal_count, 1);
	assert_string_equal(o.conf->portals[0].listen[0], DAEMON_DEFAULT_LISTEN);
	assert_null(o.state_dir);
	assert_null(o.control);
	assert_null(o.config_file);
	assert_int_equal(o.loops, 0);
	assert_int_equal(o.buffer_bytes, 0);
	assert_false(o.quiet || o.pin || o.spin_set || o.unsafe_fs || o.state_dir_moved);
	options_fini(&o);
}

static void
luns_are_numbered_in_order(void **state)
{
	(void)state;
	accept("--lun", "/srv/a:1GiB", "--lun=ram:512MiB", "--lun", "null:2TiB");
	assert_int_equal(target()->lun_count, 3);
	assert_lun(0, "/srv/a", 1ull << 30);
	assert_lun(1, "ram:", 512ull << 20);
	assert_lun(2, "null:", 2ull << 40);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(target()->luns[i].number, i);
	assert_string_equal(target()->luns[2].lun, "lun2");
	options_fini(&o);
}

static void
sizes_have_units_or_are_bytes(void **state)
{
	(void)state;
	accept("--lun", "/a:512", "--lun", "/b:4KiB", "--lun", "/c:1PiB", "--lun", "/d:1024B");
	assert_lun(0, "/a", 512);
	assert_lun(1, "/b", 4096);
	assert_lun(2, "/c", 1ull << 50);
	assert_lun(3, "/d", 1024);
	options_fini(&o);
}

static void
wrong_sizes_are_refused(void **state)
{
	static const char *const sizes[] = {"", "x", "1G", "1GB", "1 GiB", "-1", "+1", "1.5GiB",
	    "0x200", "1gib", "GiB", " 1", "1GiB "};
	char spec[40];
	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		snprintf(spec, sizeof spec, "ram:%s", sizes[i]);
		refuse("ram:512MiB", "--lun", spec);
		snprintf(spec, sizeof spec, "null:%s", sizes[i]);
		refuse("null:512MiB", "--lun", spec);
		snprintf(spec, sizeof spec, "/no/such/file:%s", sizes[i]);
		refuse("no such file", "--lun", spec);
		assert_non_null(strstr(said, "10GiB"));
	}
	refuse("other than 0", "--lun", "ram:0");
	refuse("other than 0", "--lun", "/a:0GiB");
	refuse("multiple of 512", "--lun", "ram:513");
	refuse("multiple of 512", "--lun", "/a:1000");
	refuse("larger than any", "--lun", "ram:9000PiB");
	refuse("larger than any", "--lun", "/a:99999999999999999999");
	refuse("no size", "--lun", "ram:a:1GiB");
}

static void
what_exists_is_a_path_colons_and_all(void **state)
{
	char path[300], with_size[310];
	(void)state;
	snprintf(path, sizeof path, "%s/a:1GiB", dir);
	snprintf(with_size, sizeof with_size, "%s:2GiB", path);
	accept("--lun", with_size);
	assert_lun(0, path, 2ull << 30);
	options_fini(&o);
	int fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	accept("--lun", path, "--lun", with_size);
	assert_lun(0, path, 0);
	assert_lun(1, path, 2ull << 30);
	options_fini(&o);
	unlink(path);
}

static void
a_colon_before_a_slash_belongs_to_a_folder(void **state)
{
	(void)state;
	accept("--lun", "/mnt/host:vol/disk", "--lun", "/mnt/a:1GiB/disk", "--lun",
	    "/mnt/a:b/disk:1GiB");
	assert_lun(0, "/mnt/host:vol/disk", 0);
	assert_lun(1, "/mnt/a:1GiB/disk", 0);
	assert_lun(2, "/mnt/a:b/disk", 1ull << 30);
	options_fini(&o);
}

static void
the_kind_of_store_may_be_said(void **state)
{
	(void)state;
	accept("--lun", "file:a.img", "--lun", "file:/srv/a:1GiB", "--lun", "block:/dev/sdx",
	    "--lun", "lvm:vg/lv");
	assert_lun(0, "file:a.img", 0);
	assert_lun(1, "file:/srv/a", 1ull << 30);
	assert_lun(2, "block:/dev/sdx", 0);
	assert_lun(3, "lvm:vg/lv", 0);
	options_fini(&o);
}

static void
ram_is_memory_whatever_files_there_are(void **state)
{
	char before[4096];
	(void)state;
	assert_non_null(getcwd(before, sizeof before));
	assert_int_equal(chdir(dir), 0);
	int fd = open("ram:1MiB", O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	accept("--lun", "ram:1MiB", "--lun", "./ram:1MiB");
	assert_lun(0, "ram:", 1 << 20);
	assert_lun(1, "./ram:1MiB", 0);
	options_fini(&o);
	unlink("ram:1MiB");
	assert_int_equal(chdir(before), 0);
}

static void
modes_hold_for_all_luns(void **state)
{
	(void)state;
	accept("--lun", "ram:1MiB", "--mode", "volatile", "--lun", "ram:2MiB");
	assert_int_equal(o.conf->luns[0].mode, CONF_MODE_VOLATILE);
	assert_int_equal(o.conf->luns[1].mode, CONF_MODE_VOLATILE);
	options_fini(&o);
	accept("--lun", "ram:1MiB", "--mode", "writethrough");
	assert_int_equal(o.conf->luns[0].mode, CONF_MODE_WRITETHROUGH);
	options_fini(&o);
	accept("--lun", "ram:1MiB");
	assert_int_not_equal(o.conf->luns[0].mode, CONF_MODE_VOLATILE);
	options_fini(&o);
	refuse("nv (or writeback), writethrough, volatile and bypass", "--lun", "ram:1MiB",
	    "--mode", "fast");
	refuse("there is none: give --ssd", "--lun", "ram:1MiB", "--mode", "nv");
	refuse("there is none: give --ssd", "--lun", "ram:1MiB", "--mode", "writeback");
}

static void
an_ssd_is_for_all_luns(void **state)
{
	(void)state;
	accept("--lun", "ram:1MiB", "--ssd", "/no/such.ssd:2GiB", "--lun", "ram:2MiB");
	assert_int_equal(o.conf->cache_count, 1);
	assert_string_equal(o.conf->caches[0].ssd, "/no/such.ssd");
	assert_int_equal(o.conf->caches[0].size_bytes, 2ull << 30);
	for (unsigned i = 0; i < 2; i++) {
		assert_string_equal(o.conf->luns[i].cache, o.conf->caches[0].name);
		assert_int_equal(conf_lun_mode(&o.conf->luns[i]), CONF_MODE_NV);
	}
	options_fini(&o);
	accept("--lun", "ram:1MiB", "--ssd", "/no/such.ssd", "--profile", "uncached");
	assert_int_equal(conf_lun_mode(&o.conf->luns[0]), CONF_MODE_BYPASS);
	options_fini(&o);
	accept("--lun", "ram:1MiB", "--ssd", "/no/such.ssd", "--mode", "writeback");
	assert_int_equal(conf_lun_mode(&o.conf->luns[0]), CONF_MODE_NV);
	options_fini(&o);
	accept("--lun", "ram:1MiB", "--profile", "database");
	assert_int_equal(conf_lun_mode(&o.conf->luns[0]), CONF_MODE_WRITETHROUGH);
	options_fini(&o);
	accept("--lun", "ram:1MiB", "--ram", "64MiB");
	assert_int_equal(o.conf->caches[0].ram_bytes, 64 << 20);
	assert_int_equal(conf_lun_mode(&o.conf->luns[0]), CONF_MODE_WRITETHROUGH);
	options_fini(&o);
	accept("--lun", "ram:1MiB", "--ram", "none", "--ssd", "/no/such.ssd");
	assert_int_equal(o.conf->caches[0].ram_bytes, CONF_RAM_NONE);
	options_fini(&o);
	accept("--lun", "ram:1MiB", "--ram", "none");
	assert_int_equal(o.conf->cache_count, 0);
	options_fini(&o);
	refuse("--ram is given twice", "--lun", "ram:1MiB", "--ram", "1GiB", "--ram", "none");
	refuse("at least 16MiB, or none", "--lun", "ram:1MiB", "--ram", "1MiB");
	refuse("there is none: give --ssd", "--lun", "ram:1MiB", "--ram", "1GiB", "--mode", "nv");
	refuse("--ssd is given twice", "--lun", "ram:1MiB", "--ssd", "/a", "--ssd", "/b");
	refuse("memory doesn't", "--lun", "ram:1MiB", "--ssd", "ram:1GiB");
	refuse("no size", "--lun", "ram:1MiB", "--ssd", "/no/such.ssd:2GB");
	refuse("the profiles are", "--lun", "ram:1MiB", "--profile", "fast");
	refuse("don't go with it", "--config", "/x", "--ssd", "/a");
}

/* ---- who may reach it -------------------------------------------------------------------------------- */

static void
loopback_needs_neither_password_nor_name(void **state)
{
	static const char *const addresses[] = {"127.0.0.1:3260", "127.0.0.1", "127.1.2.3:0",
	    "[::1]", "[::1]:3261", "localhost:3260", "LOCALHOST", "[::ffff:127.0.0.1]:3260"};
	(void)state;
	for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
		accept("--lun", "ram:1MiB", "--listen", addresses[i]);
		assert_true(target()->open);
		options_fini(&o);
	}
}

static void
elsewhere_a_password_or_open_is_needed(void **state)
{
	static const char *const addresses[] = {"0.0.0.0", "0.0.0.0:3260", "[::]:3260", "192.0.2.1",
	    "128.0.0.1", "12.7.0.1", "storage.example.com", "127.example.com",
	    "127.0.0.1.example.com", "localhost.example.com:3260", "localhosts", "[::1:1]",
	    "[::127.0.0.1]", "[::ffff:192.0.2.1]:3260", "[fe80::1%lo]:3260"};
	(void)state;
	for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
		refuse("--user NAME:SECRET", "--lun", "ram:1MiB", "--name",
		    "iqn.2026-11.com.example:a", "--listen", addresses[i]);
		assert_non_null(strstr(said, "--open"));
		/* One among others is enough. */
		refuse("--open", "--lun", "ram:1MiB", "--name", "iqn.2026-11.com.example:a",
		    "--listen", "127.0.0.1", "--listen", addresses[i], "--listen", "[::1]");
		accept("--lun", "ram:1MiB", "--name", "iqn.2026-11.com.example:a", "--listen",
		    addresses[i], "--open");
		assert_true(target()->open);
		options_fini(&o);
	}
}

static void
elsewhere_a_name_is_needed(void **state)
{
	(void)state;
	refuse("--name", "--lun", "ram:1MiB", "--listen", "192.0.2.1", "--open");
	refuse("--name", "--lun", "ram:1MiB", "--listen", "192.0.2.1", "--user", "a:0123456789ab");
}

static void
listen_addresses_are_checked(void **state)
{
	(void)state;
	accept("--lun", "ram:1MiB", "--listen", "127.0.0.1", "--listen", "[::1]:3261");
	assert_int_equal(o.conf->portals[0].listen_count, 2);
	assert_string_equal(o.conf->portals[0].listen[0], "127.0.0.1:3260");
	assert_string_equal(o.conf->portals[0].listen[1], "[::1]:3261");
	options_fini(&o);
	accept("--lun", "ram:1MiB", "--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0");
	options_fini(&o);
	refuse("1 to 65535", "--lun", "ram:1MiB", "--listen", "127.0.0.1:99999");
	refuse("1 to 65535", "--lun", "ram:1MiB", "--listen", "127.0.0.1:");
	refuse("1 to 65535", "--lun", "ram:1MiB", "--listen", "127.0.0.1:iscsi");
	refuse("in brackets", "--lun", "ram:1MiB", "--listen", "::1");
	refuse("say which address", "--lun", "ram:1MiB", "--listen", ":3260");
	refuse("[2001:db8::10]:3260", "--lun", "ram:1MiB", "--listen", "[::1");
	refuse("192.0.2.10:3260", "--lun", "ram:1MiB", "--listen", "1.2.3:3260");
	refuse("0.0.0.0:3260", "--lun", "ram:1MiB", "--listen", "*:3260");
	refuse("given twice", "--lun", "ram:1MiB", "--listen", "127.0.0.1", "--listen",
	    "127.0.0.1:3260");
}

static void
names_are_checked_and_kept_in_lower_case(void **state)
{
	(void)state;
	accept("--lun", "ram:1MiB", "--name", "iqn.2026-11.com.example:Storage");
	assert_string_equal(target()->name, "iqn.2026-11.com.example:storage");
	options_fini(&o);
	accept("--lun", "ram:1MiB", "--name", "iqn.2026-11.com.example:a", "--name",
	    "naa.52004567BA64678D");
	assert_string_equal(target()->name, "naa.52004567ba64678d");
	options_fini(&o);
	refuse("iqn.2026-11.com.example:storage", "--lun", "ram:1MiB", "--name", "storage");
}

static void
users_make_a_group_and_close_the_target(void **state)
{
	(void)state;
	accept("--lun", "ram:1MiB", "--lun", "ram:2MiB", "--user", "esx:0123456789ab", "--user",
	    "win:with:colons:in:it", "--listen", "192.0.2.1", "--name",
	    "iqn.2026-11.com.example:a");
	assert_false(target()->open);
	assert_int_equal(target()->lun_count, 0);
	assert_int_equal(target()->chap_count, 2);
	assert_string_equal(target()->chaps[0].user, "esx");
	assert_string_equal(target()->chaps[0].secret, "0123456789ab");
	assert_string_equal(target()->chaps[1].secret, "with:colons:in:it");
	assert_int_equal(target()->group_count, 1);
	const struct conf_group *g = &target()->groups[0];
	assert_int_equal(g->initiator_count, 1);
	assert_string_equal(g->initiators[0], "*");
	assert_int_equal(g->user_count, 2);
	assert_string_equal(g->users[1], "win");
	assert_int_equal(g->lun_count, 2);
	options_fini(&o);
}

static void
wrong_users_are_refused_and_no_secret_is_shown(void **state)
{
	static const char *const secrets[] = {"short", "0123456789a", "tab\tin the secret"};
	char user[400];
	(void)state;
	for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
		snprintf(user, sizeof user, "esx:%s", secrets[i]);
		refuse("--user esx: a secret", "--lun", "ram:1MiB", "--user", user);
		assert_null(strstr(said, secrets[i]));
	}
	memset(user, 'x', sizeof user);
	memcpy(user, "esx:", 4);
	user[4 + 257] = '\0';
	refuse("12 to 256", "--lun", "ram:1MiB", "--user", user);
	user[4 + 256] = '\0';
	accept("--lun", "ram:1MiB", "--user", user);
	options_fini(&o);
	memset(user, 'x', sizeof user);
	memcpy(user + 256, ":0123456789ab", 14);
	refuse("at most 255", "--lun", "ram:1MiB", "--user", user);
	refuse("NAME:SECRET", "--lun", "ram:1MiB", "--user", "0123456789abc");
	assert_null(strstr(said, "0123456789abc"));
	refuse("NAME:SECRET", "--lun", "ram:1MiB", "--user", ":0123456789abc");
	refuse("NAME:SECRET", "--lun", "ram:1MiB", "--user", "esx:");
	refuse("given twice", "--lun", "ram:1MiB", "--user", "a:0123456789ab", "--user",
	    "a:0123456789abc");
	refuse("one of them", "--lun", "ram:1MiB", "--user", "a:0123456789ab", "--open");
}

static void
a_secret_is_wiped_from_the_command_line(void **state)
{
	char program[] = "terraced", lun[] = "--lun", ram[] = "ram:1MiB", user[] = "--user";
	char value[] = "esx:0123456789ab";
	char *argv[] = {program, lun, ram, user, value, NULL};
	(void)state;
	assert_int_equal(options_parse(5, argv, &o), -1);
	assert_string_equal(target()->chaps[0].secret, "0123456789ab");
	for (size_t i = 4; i < sizeof value; i++)
		assert_int_equal(value[i], 0);
	options_fini(&o);
}

/* ---- secrets from files --------------------------------------------------------------------------------- */

static const char *
secret_file(const char *text, size_t len, mode_t mode)
{
	static char arg[320];
	snprintf(arg, sizeof arg, "esx:@%s/secret", dir);
	const char *path = arg + 5;
	unlink(path);
	int fd = open(path, O_CREAT | O_WRONLY | O_EXCL, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), (ssize_t)len);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	return arg;
}

static void
a_secret_may_come_from_a_file(void **state)
{
	static const char *const texts[] = {"0123456789ab", "0123456789ab\n", "0123456789ab\r\n"};
	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		accept(
		    "--lun", "ram:1MiB", "--user", secret_file(texts[i], strlen(texts[i]), 0640));
		assert_string_equal(target()->chaps[0].secret, "0123456789ab");
		options_fini(&o);
	}
}

static void
wrong_secret_files_are_refused(void **state)
{
	char text[400], arg[400];
	(void)state;
	memset(text, 'x', sizeof text);
	refuse("12 to 256", "--lun", "ram:1MiB", "--user", secret_file("", 0, 0600));
	refuse("12 to 256", "--lun", "ram:1MiB", "--user", secret_file(text, 400, 0600));
	refuse("12 to 256", "--lun", "ram:1MiB", "--user", secret_file("short\n", 6, 0600));
	refuse("NUL", "--lun", "ram:1MiB", "--user", secret_file("0123456789ab\0cd", 15, 0600));
	refuse("one line", "--lun", "ram:1MiB", "--user",
	    secret_file("0123456789ab\n0123\n", 18, 0600));
	refuse("chmod 0600", "--lun", "ram:1MiB", "--user", secret_file(text, 20, 0644));
	snprintf(arg, sizeof arg, "esx:@%s", dir);
	refuse("no regular file", "--lun", "ram:1MiB", "--user", arg);
	snprintf(arg, sizeof arg, "esx:@%s/none", dir);
	refuse("No such file", "--lun", "ram:1MiB", "--user", arg);
	refuse("can't read", "--lun", "ram:1MiB", "--user", "esx:@");
	snprintf(arg, sizeof arg, "%s/secret", dir);
	unlink(arg);
}

/* ---- the process ------------------------------------------------------------------------------------------ */

static void
process_options_are_kept(void **state)
{
	enum log_level before = log_get_level();
	(void)state;
	accept("--lun", "ram:1MiB", "--state-dir", "/s", "--state-dir-moved", "--control", "/c",
	    "--loops", "32", "--buffers", "8MiB", "--spin-us", "0", "--pin", "--unsafe-fs",
	    "--quiet", "--log-level", "debug");
	assert_string_equal(o.state_dir, "/s");
	assert_true(o.state_dir_moved);
	assert_string_equal(o.control, "/c");
	assert_int_equal(o.loops, 32);
	assert_int_equal(o.buffer_bytes, 8 << 20);
	assert_true(o.spin_set);
	assert_int_equal(o.spin_us, 0);
	assert_true(o.pin);
	assert_true(o.unsafe_fs);
	assert_true(o.quiet);
	assert_int_equal(log_get_level(), LOG_LEVEL_DEBUG);
	log_set_level(before);
	options_fini(&o);
	accept("--lun", "ram:1MiB", "-q");
	assert_true(o.quiet);
	options_fini(&o);
}

static void
numbers_are_bounded(void **state)
{
	static const char *const wrong[] = {"x", "-1", "1x", " 1", "99999999999999999999"};
	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		refuse("1 to 32", "--lun", "ram:1MiB", "--loops", wrong[i]);
		refuse("0 to 10000", "--lun", "ram:1MiB", "--spin-us", wrong[i]);
	}
	refuse("1 to 32", "--lun", "ram:1MiB", "--loops", "0");
	refuse("1 to 32", "--lun", "ram:1MiB", "--loops", "33");
	refuse("0 to 10000", "--lun", "ram:1MiB", "--spin-us", "10001");
	refuse("8MiB", "--lun", "ram:1MiB", "--buffers", "8388607");
	refuse("1TiB", "--lun", "ram:1MiB", "--buffers", "2TiB");
	refuse("512MiB", "--lun", "ram:1MiB", "--buffers", "much");
	refuse("error, warning, info or debug", "--lun", "ram:1MiB", "--log-level", "loud");
}

static void
a_configuration_says_all_that_is_served(void **state)
{
	(void)state;
	accept("--config", "/etc/t.conf", "--buffers", "64MiB", "--loops", "2", "--check", "-q",
	    "--state-dir", "/s");
	assert_string_equal(o.config_file, "/etc/t.conf");
	assert_null(o.conf);
	assert_true(o.check_only);
	assert_int_equal(o.buffer_bytes, 64 << 20);
	assert_int_equal(o.loops, 2);
	options_fini(&o);
	refuse("--config", "--config", "c", "--lun", "ram:1MiB");
	refuse("--config", "--config", "c", "--name", "iqn.2026-11.com.example:a");
	refuse("--config", "--listen", "127.0.0.1", "--config", "c");
	refuse("--config", "--config", "c", "--mode", "volatile");
	refuse("--config", "--config", "c", "--open");
	refuse("--config", "--config", "c", "--user", "a:0123456789ab");
	refuse("--check needs --config", "--check", "--lun", "ram:1MiB");
}

static void
help_and_version_are_printed(void **state)
{
	(void)state;
	assert_int_equal(parse("--help"), EXIT_DONE);
	assert_non_null(strstr(said, "Usage: terraced"));
	assert_int_equal(parse("-h"), EXIT_DONE);
	assert_non_null(strstr(said, "--lun"));
	assert_int_equal(parse("--version"), EXIT_DONE);
	assert_string_equal(said, "terraced " TERRACE_VERSION "\n");
	assert_int_equal(parse("-V", "--nonsense"), EXIT_DONE);
}

static void
what_cannot_be_is_refused(void **state)
{
	static const char *const with_argument[] = {"--lun", "--name", "--listen", "--state-dir",
	    "--control", "--loops", "--mode", "--user", "--config", "--spin-us", "--log-level",
	    "--buffers"};
	char arg[40];
	(void)state;
	assert_int_equal(parse_list(NULL, 0), EXIT_USAGE);
	assert_non_null(strstr(said, "--lun or --config"));
	refuse("nothing to serve", "--quiet");
	refuse("--nonsense", "--nonsense");
	refuse("'x'", "-x");
	refuse("--lun", "/srv/a.img");
	assert_non_null(strstr(said, "/srv/a.img"));
	refuse("unexpected 'b'", "--lun", "ram:1MiB", "--", "b");
	for (size_t i = 0; i < sizeof with_argument / sizeof with_argument[0]; i++) {
		refuse("requires an argument", with_argument[i]);
		snprintf(arg, sizeof arg, "%s=", with_argument[i]);
		refuse("empty", arg);
		assert_non_null(strstr(said, with_argument[i]));
	}
	refuse("doesn't allow an argument", "--pin=1");
}

static int
setup(void **state)
{
	(void)state;
	tmpdir_make(&tmp);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	tmpdir_remove(&tmp);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_lun_is_enough),
	    cmocka_unit_test(luns_are_numbered_in_order),
	    cmocka_unit_test(sizes_have_units_or_are_bytes),
	    cmocka_unit_test(wrong_sizes_are_refused),
	    cmocka_unit_test(what_exists_is_a_path_colons_and_all),
	    cmocka_unit_test(a_colon_before_a_slash_belongs_to_a_folder),
	    cmocka_unit_test(the_kind_of_store_may_be_said),
	    cmocka_unit_test(ram_is_memory_whatever_files_there_are),
	    cmocka_unit_test(modes_hold_for_all_luns),
	    cmocka_unit_test(an_ssd_is_for_all_luns),
	    cmocka_unit_test(loopback_needs_neither_password_nor_name),
	    cmocka_unit_test(elsewhere_a_password_or_open_is_needed),
	    cmocka_unit_test(elsewhere_a_name_is_needed),
	    cmocka_unit_test(listen_addresses_are_checked),
	    cmocka_unit_test(names_are_checked_and_kept_in_lower_case),
	    cmocka_unit_test(users_make_a_group_and_close_the_target),
	    cmocka_unit_test(wrong_users_are_refused_and_no_secret_is_shown),
	    cmocka_unit_test(a_secret_is_wiped_from_the_command_line),
	    cmocka_unit_test(a_secret_may_come_from_a_file),
	    cmocka_unit_test(wrong_secret_files_are_refused),
	    cmocka_unit_test(process_options_are_kept),
	    cmocka_unit_test(numbers_are_bounded),
	    cmocka_unit_test(a_configuration_says_all_that_is_served),
	    cmocka_unit_test(help_and_version_are_printed),
	    cmocka_unit_test(what_cannot_be_is_refused),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
