/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs a fuzz function over files, and over the files of folders: corpus replay without libFuzzer. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

#define INPUT_MAX (1u << 20)

static unsigned replayed;

static int
replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	if (!f) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	uint8_t *buf = malloc(INPUT_MAX);
	size_t len = buf ? fread(buf, 1, INPUT_MAX, f) : 0;
	int failed = !buf || ferror(f) || !feof(f);
	fclose(f);
	/* Exactly as long as the input, so that a sanitizer sees reads behind it. */
	uint8_t *data = failed ? NULL : malloc(len ? len : 1);
	if (data) {
		memcpy(data, buf, len);
		(void)LLVMFuzzerTestOneInput(data, len);
		replayed++;
	}
	free(data);
	free(buf);
	return data ? 0 : -1;
}

static int
replay_folder(const char *path)
{
	DIR *d = opendir(path);
	if (!d)
		return -1;
	int r = 0;
	for (struct dirent *e; r == 0 && (e = readdir(d)) != NULL;) {
		char file[4096];
		if (e->d_name[0] == '.')
			continue;
		if (snprintf(file, sizeof file, "%s/%s", path, e->d_name) >= (int)sizeof file)
			r = -1;
		else
			r = replay_file(file);
	}
	closedir(d);
	return r;
}

int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		struct stat st;
		if (stat(argv[i], &st) < 0) {
			fprintf(stderr, "%s: %s\n", argv[i], strerror(errno));
			return 1;
		}
		if ((S_ISDIR(st.st_mode) ? replay_folder(argv[i]) : replay_file(argv[i])) < 0)
			return 1;
	}
	printf("%u inputs replayed\n", replayed);
	/* An empty corpus would test nothing. */
	return replayed == 0;
}
