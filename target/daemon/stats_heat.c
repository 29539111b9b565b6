/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a LUN is hot: counts that fade. */
#include <math.h>
#include <string.h>

#include "daemon/stats_priv.h"

#define HALF_LIFE_NS (STATS_HEAT_HALF_LIFE_S * 1e9)

/* Parts of another size: several become one. */
static void
fold(float *counts, uint32_t by)
{
	for (uint32_t i = 1; i < SCSI_HEAT_PARTS; i++) {
		float n = counts[i];
		counts[i] = 0;
		counts[by < 32 ? i >> by : 0] += n;
	}
}

static void
add(float *counts, const uint32_t *now, const uint32_t *before, float fade)
{
	for (uint32_t i = 0; i < SCSI_HEAT_PARTS; i++) {
		counts[i] = counts[i] * fade + (float)(uint32_t)(now[i] - before[i]);
		if (counts[i] < 1e-3f) /* nothing is left of it; denormals are slow */
			counts[i] = 0;
	}
}

void
stats_hot_anew(struct stats_hot *h)
{
	memset(h->last.reads, 0, sizeof h->last.reads);
	memset(h->last.writes, 0, sizeof h->last.writes);
}

void
stats_hot_look(struct stats_hot *h, const struct scsi_heat *now, uint64_t ns)
{
	float fade = (float)exp2(-(double)(ns - h->ns) / HALF_LIFE_NS);

	if (h->ns == 0) { /* the first one */
		h->last.shift = now->shift;
		fade = 0;
	}
	h->ns = ns;
	if (now->shift > h->last.shift) {
		/* The unit grew meanwhile: what it counted since the last look can't be told apart. */
		fold(h->reads, now->shift - h->last.shift);
		fold(h->writes, now->shift - h->last.shift);
		h->last = *now;
	} else if (now->shift < h->last.shift) { /* a smaller unit has come in its place */
		memset(h->reads, 0, sizeof h->reads);
		memset(h->writes, 0, sizeof h->writes);
		h->last = *now;
	}
	add(h->reads, now->reads, h->last.reads, fade);
	add(h->writes, now->writes, h->last.writes, fade);
	h->last = *now;
}
