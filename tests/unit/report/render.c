/* SPDX-License-Identifier: BSD-2-Clause */
/* Renders an answer on standard input as its argument says; for tests that look at the outputs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/report.h"

static const struct {
	const char *name;
	char *(*render)(const json_t *answer, size_t *ret_len);
} outputs[] = {
    {"lun", report_lun_text},
    {"cache", report_cache_text},
    {"session", report_session_text},
    {"health", report_health_text},
    {"json", report_json},
    {"metrics", report_metrics},
    {"latency", report_latency_svg},
    {"activity", report_activity_svg},
    {"heatmap", report_heatmap_svg},
};

int
main(int argc, char **argv)
{
	json_error_t error;
	json_t *answer = json_loadf(stdin, JSON_DECODE_ANY, &error);
	char *text = NULL;
	size_t len = 0;

	if (answer == NULL || argc != 2) {
		fprintf(stderr, "usage: %s OUTPUT < ANSWER.json\n", argv[0]);
		return 2;
	}
	for (unsigned i = 0; i < sizeof outputs / sizeof outputs[0]; i++)
		if (strcmp(outputs[i].name, argv[1]) == 0)
			text = outputs[i].render(answer, &len);
	json_decref(answer);
	if (text == NULL || strlen(text) != len)
		return 1;
	fwrite(text, 1, len, stdout);
	free(text);
	return 0;
}
