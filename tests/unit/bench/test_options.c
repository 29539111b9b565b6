/* SPDX-License-Identifier: BSD-2-Clause */
/* Command line of terrace-bench-iscsi. */
#include "bench/iscsi_load.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define ARGS_MAX 32

static struct load_options opt;
static char err[256];

/* Parses the required options and `extra`, a list that ends with NULL. */
static enum load_parse
parse(const char *const *extra)
{
	static char args[ARGS_MAX][96];
	char *argv[ARGS_MAX + 1];
	static const char *const base[] = {
	    "bench", "--portal", "127.0.0.1:3260", "--target", "iqn.2026-11.example:t"};
	int argc = 0;
	for (; argc < 5; argc++)
		strcpy(args[argc], base[argc]);
	for (; *extra; extra++)
		strcpy(args[argc++], *extra);
	for (int i = 0; i < argc; i++)
		argv[i] = args[i];
	argv[argc] = NULL;
	err[0] = '\0';
	return load_options_parse(argc, argv, &opt, err, sizeof err);
}

#define PARSE(...) parse((const char *const[]){__VA_ARGS__, NULL})

static void
test_defaults(void **state)
{
	(void)state;
	assert_int_equal(parse((const char *const[]){NULL}), LOAD_PARSE_OK);
	assert_int_equal(opt.sessions, 1);
	assert_int_equal(opt.depth, 32);
	assert_int_equal(opt.block_bytes, 4096);
	assert_int_equal(opt.read_percent, 100);
	assert_int_equal(opt.mode, LOAD_MODE_LOAD);
	assert_int_equal(opt.cpu, -1);
	assert_false(opt.json);
	const struct sockaddr_in *in = (const struct sockaddr_in *)&opt.portal;
	assert_int_equal(in->sin_family, AF_INET);
	assert_int_equal(ntohs(in->sin_port), 3260);
}

static void
test_all_options_are_taken(void **state)
{
	(void)state;
	assert_int_equal(PARSE("--sessions", "8", "--depth=16", "--block", "128KiB", "--mix", "30",
	                     "--pattern", "seq", "--pace", "20000", "--digests", "header,data"),
	    LOAD_PARSE_OK);
	assert_int_equal(opt.sessions, 8);
	assert_int_equal(opt.depth, 16);
	assert_int_equal(opt.block_bytes, 131072);
	assert_int_equal(opt.read_percent, 30);
	assert_int_equal(opt.pattern, LOAD_PATTERN_SEQUENTIAL);
	assert_int_equal(opt.pace_iops, 20000);
	assert_true(opt.header_digest && opt.data_digest);
}

static void
test_verify_mixes_by_default(void **state)
{
	(void)state;
	assert_int_equal(PARSE("--mode", "verify"), LOAD_PARSE_OK);
	assert_int_equal(opt.read_percent, 50);
}

static void
test_ipv6_portal(void **state)
{
	(void)state;
	assert_int_equal(PARSE("--portal", "[::1]:13260"), LOAD_PARSE_OK);
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&opt.portal;
	assert_int_equal(in6->sin6_family, AF_INET6);
	assert_int_equal(ntohs(in6->sin6_port), 13260);
}

static void
test_one_digest(void **state)
{
	(void)state;
	assert_int_equal(PARSE("--digests", "data"), LOAD_PARSE_OK);
	assert_true(opt.data_digest && !opt.header_digest);
	assert_int_equal(PARSE("--digests", "none"), LOAD_PARSE_OK);
	assert_true(!opt.data_digest && !opt.header_digest);
}

static void
test_bad_values_are_refused_by_name(void **state)
{
	(void)state;
	static const char *const bad[][2] = {
	    {"--depth", "0"},
	    {"--depth", "1025"},
	    {"--depth", "12x"},
	    {"--sessions", "-1"},
	    {"--block", "1000"},
	    {"--block", "16MiB"},
	    {"--mix", "101"},
	    {"--pattern", "zigzag"},
	    {"--mode", "fast"},
	    {"--seconds", "soon"},
	    {"--seconds", "nan"},
	    {"--portal", "127.0.0.1"},
	    {"--portal", "host.example:3260"},
	    {"--digests", "header,body"},
	    {"--lun", "16384"},
	    {"--region", "512"},
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(PARSE(bad[i][0], bad[i][1]), LOAD_PARSE_BAD);
		assert_non_null(strstr(err, bad[i][0]));
	}
}

static void
test_unknown_and_missing_are_refused(void **state)
{
	(void)state;
	assert_int_equal(PARSE("--bogus"), LOAD_PARSE_BAD);
	assert_non_null(strstr(err, "--bogus"));
	assert_int_equal(PARSE("--depth"), LOAD_PARSE_BAD);
	assert_int_equal(PARSE("stray"), LOAD_PARSE_BAD);
	char name[] = "bench";
	char *argv[] = {name, NULL};
	assert_int_equal(load_options_parse(1, argv, &opt, err, sizeof err), LOAD_PARSE_BAD);
	assert_non_null(strstr(err, "--portal"));
}

static void
test_help_wins(void **state)
{
	(void)state;
	assert_int_equal(PARSE("--help"), LOAD_PARSE_HELP);
}

static void
test_negotiated_values_take_the_smaller(void **state)
{
	(void)state;
	struct load_params p;
	load_params_init(&p);
	assert_int_equal(load_params_apply(&p, "FirstBurstLength", "65536"), 0);
	assert_int_equal(p.first_burst_bytes, 65536);
	assert_int_equal(load_params_apply(&p, "MaxBurstLength", "16776192"), 0);
	assert_int_equal(p.max_burst_bytes, LOAD_SEGMENT_BYTES);
	assert_int_equal(load_params_apply(&p, "MaxRecvDataSegmentLength", "1048576"), 0);
	assert_int_equal(p.send_segment_bytes, 1048576);
	assert_int_equal(load_params_apply(&p, "InitialR2T", "No"), 0);
	assert_false(p.initial_r2t);
	assert_int_equal(load_params_apply(&p, "TargetAlias", "anything"), 0);
}

static void
test_negotiated_nonsense_is_refused(void **state)
{
	(void)state;
	struct load_params p;
	load_params_init(&p);
	assert_true(load_params_apply(&p, "MaxBurstLength", "511") < 0);
	assert_true(load_params_apply(&p, "MaxRecvDataSegmentLength", "16777216") < 0);
	assert_true(load_params_apply(&p, "ImmediateData", "Perhaps") < 0);
	assert_true(load_params_apply(&p, "HeaderDigest", "MD5") < 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_defaults),
	    cmocka_unit_test(test_all_options_are_taken),
	    cmocka_unit_test(test_verify_mixes_by_default),
	    cmocka_unit_test(test_ipv6_portal),
	    cmocka_unit_test(test_one_digest),
	    cmocka_unit_test(test_bad_values_are_refused_by_name),
	    cmocka_unit_test(test_unknown_and_missing_are_refused),
	    cmocka_unit_test(test_help_wins),
	    cmocka_unit_test(test_negotiated_values_take_the_smaller),
	    cmocka_unit_test(test_negotiated_nonsense_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
