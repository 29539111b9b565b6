/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What compression on the SSD costs and gains: for several kinds of data, the time that a unit of 16 KiB takes
 * to pack and to unpack, and how many bytes of the SSD it then takes, as the cache lays them out (never less than
 * half). Beside it the CRC of a unit, which each read and write of the cache computes in any case.
 *
 *	terrace-bench-pack [FILE...]     besides the generated data, that of files
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/crc32c.h"
#include "cache/codec.h"
#include "cache/pack_unit.h"

#define UNIT (CF_PACK_UNIT_BLOCKS * CF_BLOCK_BYTES)
#define UNITS 1024u
#define BYTES ((size_t)UNITS * UNIT)
#define ROUNDS 5u /* the best counts: others use the machine */

static char *data, *packed, *back;
static uint32_t sectors[UNITS];
static volatile uint32_t sink; /* so that it is computed */

static uint64_t
now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t
next(uint64_t *x)
{
	*x = *x * 6364136223846793005ull + 1442695040888963407ull;
	return *x >> 32;
}

static void
make_text(void)
{
	static const char *const words[] = {"the", "of", "disk", "cache", "Terrace", "block",
	    "which", "when", "durable", "written", "again", "a", "in", "error:", "10.0.0.1",
	    "host"};
	uint64_t x = 1;
	for (size_t n = 0; n < BYTES;) {
		char word[64];
		int len = snprintf(word, sizeof word, "%s %s", words[next(&x) % 16],
		    next(&x) % 8 == 0 ? "\n" : "");
		if (next(&x) % 6 == 0)
			len = snprintf(word, sizeof word, "%u ", (unsigned)next(&x) % 100000);
		for (int i = 0; i < len && n < BYTES; i++)
			data[n++] = word[i];
	}
}

static void
make_noise(void)
{
	uint64_t x = 2;
	for (size_t n = 0; n < BYTES; n += 4) {
		uint32_t v = (uint32_t)next(&x);
		memcpy(data + n, &v, 4);
	}
}

static void
make_zeros(void)
{
	memset(data, 0, BYTES);
}

/* From the file's begin, again and again. */
static bool
make_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	size_t n = f != NULL ? fread(data, 1, BYTES, f) / CF_BLOCK_BYTES * CF_BLOCK_BYTES : 0;
	if (f != NULL)
		fclose(f);
	if (n < UNIT)
		return false;
	for (size_t at = n; at < BYTES; at++)
		data[at] = data[at - n];
	return true;
}

static double
best(double was, uint64_t ns)
{
	double us = (double)ns / 1000 / UNITS;
	return was == 0 || us < was ? us : was;
}

static bool
measure(struct pack_ctx *p, const char *name)
{
	double pack_us = 0, unpack_us = 0, crc_us = 0;
	uint64_t used = 0;
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t t = now_ns();
		for (unsigned i = 0; i < UNITS; i++)
			sectors[i] =
			    pack_unit(p, data + (size_t)i * UNIT, UNIT, packed + (size_t)i * UNIT);
		pack_us = best(pack_us, now_ns() - t);
		t = now_ns();
		for (unsigned i = 0; i < UNITS; i++)
			if (sectors[i] > 0 && unpack_unit(p, packed + (size_t)i * UNIT,
			                          sectors[i] * PACK_SECTOR_BYTES, back, UNIT) < 0)
				return false;
		unpack_us = best(unpack_us, now_ns() - t);
		t = now_ns();
		for (unsigned i = 0; i < UNITS; i++)
			sink = crc32c(data + (size_t)i * UNIT, UNIT);
		crc_us = best(crc_us, now_ns() - t);
	}
	/* As fills of 128 KiB. */
	for (unsigned i = 0; i < UNITS; i += CF_PACK_UNITS) {
		uint32_t all = 0, any = 0;
		for (unsigned k = i; k < i + CF_PACK_UNITS; k++) {
			any += sectors[k];
			all += sectors[k] > 0 ? sectors[k] : UNIT / PACK_SECTOR_BYTES;
		}
		used += any > 0 ? cache_pack_payload(CACHE_PACK_DESC_BLOCKS, all)
		                : CACHE_PACK_DESC_BLOCKS;
	}
	printf("%-28.28s %7.1f %9.1f %8.1f %8.2f\n", name, pack_us, unpack_us, crc_us,
	    (double)BYTES / (double)(used * CF_BLOCK_BYTES));
	return true;
}

int
main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*make)(void);
	} kinds[] = {{"zeros", make_zeros}, {"text", make_text}, {"random", make_noise}};
	struct pack_ctx *p;
	bool ok = true;

	data = malloc(BYTES);
	packed = malloc(BYTES);
	back = malloc(UNIT);
	if (data == NULL || packed == NULL || back == NULL || pack_ctx_create(true, &p) < 0)
		return 2;
	puts("CPU in microseconds for 16 KiB        pack    unpack      CRC   gain");
	for (unsigned i = 0; ok && i < sizeof kinds / sizeof kinds[0]; i++) {
		kinds[i].make();
		ok = measure(p, kinds[i].name);
	}
	for (int i = 1; ok && i < argc; i++) {
		const char *slash = strrchr(argv[i], '/');
		if (make_file(argv[i]))
			ok = measure(p, slash != NULL ? slash + 1 : argv[i]);
		else
			fprintf(stderr, "%s: can't be read, or is too short\n", argv[i]);
	}
	pack_ctx_destroy(p);
	free(data);
	free(packed);
	free(back);
	return ok ? 0 : 1;
}
