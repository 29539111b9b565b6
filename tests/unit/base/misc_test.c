/* SPDX-License-Identifier: BSD-2-Clause */
/* base/crc32c.h, endian.h, steps.h, log.h, assert.h */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/endian.h"
#include "base/log.h"
#include "base/steps.h"

/* ---- crc32c ---- */

static void
crc32c_check_value(void **state)
{
	(void)state;
	assert_int_equal(crc32c("123456789", 9), 0xe3069283u);
	assert_int_equal(crc32c("", 0), 0);
}

/* RFC 3720 §B.4; the RFC prints the digests in wire order, i.e. little-endian. */
static void
crc32c_rfc_vectors(void **state)
{
	(void)state;
	uint8_t buf[32];
	memset(buf, 0, sizeof buf);
	assert_int_equal(crc32c(buf, 32), 0x8a9136aau);
	memset(buf, 0xff, sizeof buf);
	assert_int_equal(crc32c(buf, 32), 0x62a8ab43u);
	for (unsigned i = 0; i < 32; i++)
		buf[i] = (uint8_t)i;
	assert_int_equal(crc32c(buf, 32), 0x46dd794eu);
	for (unsigned i = 0; i < 32; i++)
		buf[i] = (uint8_t)(31 - i);
	assert_int_equal(crc32c(buf, 32), 0x113fdb5cu);
	static const uint8_t read_pdu[48] = {0x01, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	    0x14, 0, 0, 0, 0, 0, 0x04, 0, 0, 0, 0, 0x14, 0, 0, 0, 0x18, 0x28, 0, 0, 0, 0, 0, 0, 0,
	    0x02, 0, 0, 0, 0, 0, 0, 0};
	assert_int_equal(crc32c(read_pdu, 48), 0xd9963a56u);
}

static void
crc32c_of_pieces_equals_the_whole(void **state)
{
	(void)state;
	static uint8_t buf[100000];
	uint32_t x = 1;
	for (size_t i = 0; i < sizeof buf; i++)
		buf[i] = (uint8_t)((x = x * 1103515245u + 12345u) >> 16);
	uint32_t whole = crc32c(buf, sizeof buf);
	static const size_t cuts[] = {1, 3, 7, 64, 1000, 4096, 99999};
	for (size_t c = 0; c < sizeof cuts / sizeof cuts[0]; c++) {
		uint32_t crc = CRC32C_INIT;
		for (size_t off = 0; off < sizeof buf; off += cuts[c]) {
			size_t n = sizeof buf - off < cuts[c] ? sizeof buf - off : cuts[c];
			crc = crc32c_update(crc, buf + off, n);
		}
		assert_int_equal(crc32c_final(crc), whole);
	}
}

/* ---- endian ---- */

static void
endian_bytes_are_in_place(void **state)
{
	(void)state;
	static const uint8_t b[] = {1, 2, 3, 4, 5, 6, 7, 8};
	assert_int_equal(load_be16(b), 0x0102);
	assert_int_equal(load_be24(b), 0x010203);
	assert_int_equal(load_be32(b), 0x01020304);
	assert_true(load_be48(b) == 0x010203040506ull);
	assert_true(load_be64(b) == 0x0102030405060708ull);
	uint8_t o[8];
	store_be64(o, 0x0102030405060708ull);
	assert_memory_equal(o, b, 8);
	store_be48(o, 0x010203040506ull);
	assert_memory_equal(o, b, 6);
	store_be24(o, 0x010203);
	assert_memory_equal(o, b, 3);
	be32 v;
	be32_put(&v, 0x01020304);
	assert_memory_equal(&v, b, 4);
	assert_int_equal(be32_get(v), 0x01020304);
	le64 l;
	le64_put(&l, 0x0807060504030201ull);
	assert_memory_equal(&l, b, 8);
	assert_true(le64_get(l) == 0x0807060504030201ull);
}

/* ---- steps ---- */

static char steps_trace[64];
static int steps_fail_at_c;
static int steps_finished_result;
static unsigned steps_finished_count;

static void
trace(char c)
{
	size_t n = strlen(steps_trace);
	assert_true(n + 1 < sizeof steps_trace);
	steps_trace[n] = c;
	steps_trace[n + 1] = '\0';
}

static int
do_a(void *ctx)
{
	(void)ctx;
	trace('a');
	return 0;
}

static int
do_b(void *ctx)
{
	trace('b');
	return *(bool *)ctx ? STEPS_PENDING : 0;
}

static int
do_c(void *ctx)
{
	(void)ctx;
	trace('c');
	return steps_fail_at_c;
}

static void
undo_a(void *ctx)
{
	(void)ctx;
	trace('A');
}

static void
undo_c(void *ctx)
{
	(void)ctx;
	trace('C');
}

static const struct step table[] = {
    {"first", do_a, undo_a},
    {"second", do_b, NULL},
    {"third", do_c, undo_c},
};

static void
on_finished(struct steps *s, int result)
{
	(void)s;
	steps_finished_result = result;
	steps_finished_count++;
}

static int
steps_reset(void **state)
{
	(void)state;
	steps_trace[0] = '\0';
	steps_fail_at_c = 0;
	steps_finished_result = 99;
	steps_finished_count = 0;
	return 0;
}

static void
steps_run_in_order_and_undo_in_reverse(void **state)
{
	(void)state;
	struct steps s;
	bool pending = false;
	assert_int_equal(steps_start(&s, table, 3, &pending, on_finished), 0);
	assert_string_equal(steps_trace, "abc");
	assert_int_equal(steps_finished_count, 1);
	assert_string_equal(steps_name(&s), "done");
	steps_undo(&s);
	assert_string_equal(steps_trace, "abcCA");
	steps_undo(&s);
	assert_string_equal(steps_trace, "abcCA");
}

static void
steps_failure_undoes_what_was_done(void **state)
{
	(void)state;
	struct steps s;
	bool pending = false;
	steps_fail_at_c = -EIO;
	assert_int_equal(steps_start(&s, table, 3, &pending, on_finished), -EIO);
	assert_string_equal(steps_trace, "abcA");
	assert_int_equal(steps_finished_count, 1);
	assert_int_equal(steps_finished_result, -EIO);
	assert_string_equal(steps_name(&s), "third");
	steps_undo(&s);
	assert_string_equal(steps_trace, "abcA");
}

static void
steps_pending_step_continues(void **state)
{
	(void)state;
	struct steps s;
	bool pending = true;
	assert_int_equal(steps_start(&s, table, 3, &pending, on_finished), STEPS_PENDING);
	assert_string_equal(steps_trace, "ab");
	assert_string_equal(steps_name(&s), "second");
	assert_int_equal(steps_finished_count, 0);
	steps_continue(&s, 0);
	assert_string_equal(steps_trace, "abc");
	assert_int_equal(steps_finished_result, 0);
	assert_int_equal(steps_finished_count, 1);
}

static void
steps_pending_step_fails(void **state)
{
	(void)state;
	struct steps s;
	bool pending = true;
	assert_int_equal(steps_start(&s, table, 3, &pending, on_finished), STEPS_PENDING);
	steps_continue(&s, -ETIMEDOUT);
	assert_string_equal(steps_trace, "abA");
	assert_int_equal(steps_finished_result, -ETIMEDOUT);
	assert_int_equal(steps_finished_count, 1);
}

/* ---- log ---- */

static char last_line[4096];
static unsigned line_count;

static void
sink(enum log_level level, const char *line, void *ctx)
{
	(void)level;
	assert_ptr_equal(ctx, last_line);
	snprintf(last_line, sizeof last_line, "%s", line);
	line_count++;
}

static void
log_lines_say_level_and_module(void **state)
{
	(void)state;
	log_set_sink(sink, last_line);
	log_set_level(LOG_LEVEL_INFO);
	line_count = 0;
	log_warn("iscsi", "peer left addr=%s", "::1");
	assert_string_equal(last_line, "warning iscsi: peer left addr=::1");
	log_debug("iscsi", "not shown");
	assert_int_equal(line_count, 1);
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("iscsi", "shown");
	assert_string_equal(last_line, "debug iscsi: shown");
	log_set_level(LOG_LEVEL_INFO);
	log_set_sink(NULL, NULL);
}

static void
log_lines_cannot_be_forged(void **state)
{
	(void)state;
	log_set_sink(sink, last_line);
	log_info("m", "name=%s", "x\nerror m: forged\033[2J");
	assert_string_equal(last_line, "info m: name=x?error m: forged?[2J");
	log_set_sink(NULL, NULL);
}

static void
log_levels_parse(void **state)
{
	(void)state;
	enum log_level l = LOG_LEVEL_ERR;
	assert_int_equal(log_level_parse("debug", &l), 0);
	assert_int_equal(l, LOG_LEVEL_DEBUG);
	assert_int_equal(log_level_parse("verbose", &l), -EINVAL);
	assert_int_equal(l, LOG_LEVEL_DEBUG);
}

static const char *journal_path; /* of child_stderr(); NULL: it knows none */

/* What a child writes to its stderr, JOURNAL_STREAM pointing to that stream or to another. */
static void
child_stderr(bool journal, char *ret, size_t cap)
{
	int p[2];
	assert_int_equal(pipe(p), 0);
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(p[1], STDERR_FILENO);
		struct stat st;
		char env[64];
		if (fstat(p[1], &st) != 0)
			_exit(1);
		snprintf(env, sizeof env, "%llu:%llu", (unsigned long long)st.st_dev,
		    (unsigned long long)st.st_ino + (journal ? 0 : 1));
		setenv("JOURNAL_STREAM", env, 1);
		if (journal_path != NULL)
			(void)log_use_journal(journal_path);
		log_err("m", "broken");
		_exit(0);
	}
	close(p[1]);
	ssize_t n = read(p[0], ret, cap - 1);
	assert_true(n >= 0);
	ret[n] = '\0';
	close(p[0]);
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void
log_prefixes_priority_for_the_journal_only(void **state)
{
	(void)state;
	char line[128];
	child_stderr(true, line, sizeof line);
	assert_string_equal(line, "<3>error m: broken\n");
	child_stderr(false, line, sizeof line);
	assert_string_equal(line, "error m: broken\n");
}

/* One field of a datagram. */
static const char *
field(const char *fields, const char *name)
{
	static char value[200];
	size_t len = strlen(name);

	for (const char *p = fields; *p != '\0'; p = strchr(p, '\n') + 1)
		if (strncmp(p, name, len) == 0 && p[len] == '=') {
			snprintf(value, sizeof value, "%.*s", (int)strcspn(p + len + 1, "\n"),
			    p + len + 1);
			return value;
		}
	return "(none)";
}

static void
log_lines_become_fields(void **state)
{
	(void)state;
	char buf[4096];
	size_t n = log_fields(LOG_LEVEL_WARN, "health",
	    "warning health: [C204] the store is gone key= lun=vm1 why=\"I/O error 5\" x=\"half "
	    "object=b",
	    buf, sizeof buf - 1);
	buf[n] = '\0';
	assert_string_equal(field(buf, "PRIORITY"), "4");
	assert_string_equal(field(buf, "TERRACE_MODULE"), "health");
	assert_string_equal(field(buf, "MESSAGE"), "warning health: [C204] the store is gone key= "
	                                           "lun=vm1 why=\"I/O error 5\" x=\"half object=b");
	assert_string_equal(field(buf, "TERRACE_CODE"), "C204");
	assert_int_equal(strlen(field(buf, "MESSAGE_ID")), 32);
	assert_string_equal(field(buf, "MESSAGE_ID") + 28, "0204");
	assert_string_equal(field(buf, "TERRACE_KEY"), "");
	assert_string_equal(field(buf, "TERRACE_LUN"), "vm1");
	assert_string_equal(field(buf, "TERRACE_WHY"), "I/O error 5");
	assert_string_equal(field(buf, "TERRACE_X"), "\"half");
	assert_string_equal(field(buf, "TERRACE_OBJECT"), "b");
	/* only a condition is one, and a peer's words are no field of the journal's */
	n = log_fields(LOG_LEVEL_INFO, "iscsi",
	    "info iscsi: [C204] PRIORITY=0 MESSAGE_ID=1 a-b=1 =2 name=x", buf, sizeof buf - 1);
	buf[n] = '\0';
	assert_string_equal(field(buf, "PRIORITY"), "6");
	assert_string_equal(field(buf, "TERRACE_CODE"), "(none)");
	assert_string_equal(field(buf, "MESSAGE_ID"), "(none)");
	assert_string_equal(field(buf, "TERRACE_NAME"), "x");
	/* whatever the room, whole lines */
	for (size_t cap = 1; cap < 200; cap++) {
		n = log_fields(LOG_LEVEL_ERR, "m", "error m: lun=abcdefgh c=d", buf, cap);
		assert_true(n < cap || (n == 0 && cap == 1));
		assert_true(n == 0 || buf[n - 1] == '\n');
	}
}

static void
log_goes_to_the_journal_if_stderr_does(void **state)
{
	(void)state;
	char path[] = "/tmp/terrace-unit.XXXXXX", name[64], line[128] = "";
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	assert_non_null(mkdtemp(path));
	snprintf(name, sizeof name, "%s/journal", path);
	snprintf(address.sun_path, sizeof address.sun_path, "%s", name);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(log_use_journal(name), -ENOTTY);
	journal_path = name;
	child_stderr(true, line, sizeof line);
	assert_string_equal(line, "");
	char got[1024];
	ssize_t n = recv(fd, got, sizeof got - 1, 0); /* the child has ended */
	assert_true(n > 0);
	got[n] = '\0';
	assert_string_equal(field(got, "MESSAGE"), "error m: broken");
	child_stderr(false, line, sizeof line);
	assert_string_equal(line, "error m: broken\n");
	close(fd); /* it has gone: nothing is lost */
	unlink(name);
	child_stderr(true, line, sizeof line);
	assert_string_equal(line, "<3>error m: broken\n");
	journal_path = NULL;
	rmdir(path);
}

static void
log_limit_lets_ten_then_one_a_second(void **state)
{
	(void)state;
	struct log_limit l = {.next_ns = 0};
	uint64_t now = 5000000000ull;
	uint32_t sup = 0;
	for (unsigned i = 0; i < 10; i++)
		assert_true(log_limit_ok(&l, now, &sup));
	for (unsigned i = 0; i < 7; i++)
		assert_false(log_limit_ok(&l, now, &sup));
	now += 1000000000ull;
	assert_true(log_limit_ok(&l, now, &sup));
	assert_int_equal(sup, 7);
	assert_false(log_limit_ok(&l, now, &sup));
	now += 3600ull * 1000000000ull;
	for (unsigned i = 0; i < 10; i++)
		assert_true(log_limit_ok(&l, now, &sup));
	assert_false(log_limit_ok(&l, now, &sup));
}

/* ---- assert ---- */

static int hook_fd;

static void
hook(void)
{
	ssize_t n = write(hook_fd, "h", 1);
	(void)n;
	ASSERT(n == 2); /* fails within the hook: it must not run a second time */
}

static void
assert_runs_its_hook_once_and_aborts(void **state)
{
	(void)state;
	int p[2];
	assert_int_equal(pipe(p), 0);
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (!freopen("/dev/null", "w", stderr))
			_exit(1);
		hook_fd = p[1];
		assert_set_hook(hook);
		ASSERT(p[0] < 0);
		_exit(0);
	}
	close(p[1]);
	char got[8];
	assert_int_equal(read(p[0], got, sizeof got), 1);
	close(p[0]);
	int st;
	assert_int_equal(waitpid(pid, &st, 0), pid);
	assert_true(WIFSIGNALED(st));
	assert_int_equal(WTERMSIG(st), SIGABRT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(crc32c_check_value),
	    cmocka_unit_test(crc32c_rfc_vectors),
	    cmocka_unit_test(crc32c_of_pieces_equals_the_whole),
	    cmocka_unit_test(endian_bytes_are_in_place),
	    cmocka_unit_test_setup(steps_run_in_order_and_undo_in_reverse, steps_reset),
	    cmocka_unit_test_setup(steps_failure_undoes_what_was_done, steps_reset),
	    cmocka_unit_test_setup(steps_pending_step_continues, steps_reset),
	    cmocka_unit_test_setup(steps_pending_step_fails, steps_reset),
	    cmocka_unit_test(log_lines_say_level_and_module),
	    cmocka_unit_test(log_lines_cannot_be_forged),
	    cmocka_unit_test(log_levels_parse),
	    cmocka_unit_test(log_prefixes_priority_for_the_journal_only),
	    cmocka_unit_test(log_lines_become_fields),
	    cmocka_unit_test(log_goes_to_the_journal_if_stderr_does),
	    cmocka_unit_test(log_limit_lets_ten_then_one_a_second),
	    cmocka_unit_test(assert_runs_its_hook_once_and_aborts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
