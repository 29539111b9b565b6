/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench/iscsi_load.h"

#include "base/assert.h"
#include "base/crc32c.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Room that one PDU may take: header, its digest, padding, data digest; and its pieces. */
#define TX_PDU_BYTES (BENCH_BHS_BYTES + 2 * BENCH_DIGEST_BYTES + 3)
#define TX_PDU_IOVS 3u
#define TX_SEND_IOVS_MAX 512u

/* READ(10) and WRITE(10) where the address fits, as initiators do, else the 16-byte forms. */
void
load_pdu_cdb(uint8_t cdb[16], bool is_write, uint64_t lba, uint32_t block_count)
{
	memset(cdb, 0, 16);
	if (lba + block_count <= UINT32_MAX && block_count <= UINT16_MAX) {
		cdb[0] = is_write ? 0x2a : 0x28; /* SBC-3 5.10, 5.31 */
		store_be32(cdb + 2, (uint32_t)lba);
		store_be16(cdb + 7, (uint16_t)block_count);
	} else {
		cdb[0] = is_write ? 0x8a : 0x88; /* SBC-3 5.12, 5.33 */
		store_be64(cdb + 2, lba);
		store_be32(cdb + 10, block_count);
	}
}

/* Peripheral addressing up to 255, flat space addressing above (SAM-5 4.7). */
void
load_pdu_lun(uint8_t field[8], uint64_t lun)
{
	ASSERT(lun < 16384);
	memset(field, 0, 8);
	field[0] = (uint8_t)(lun >> 8 | (lun > 255 ? 0x40 : 0));
	field[1] = (uint8_t)lun;
}

int
load_tx_init(struct load_tx *tx, uint32_t depth)
{
	/* Two PDUs a command and some for bursts; when it is full, generation waits for the wire. */
	uint32_t pdus = 2 * depth + 128;
	*tx = (struct load_tx){.header_cap = pdus * TX_PDU_BYTES, .iov_cap = pdus * TX_PDU_IOVS};
	tx->headers = malloc(tx->header_cap);
	tx->iov = calloc(tx->iov_cap, sizeof tx->iov[0]);
	if (!tx->headers || !tx->iov) {
		load_tx_fini(tx);
		return -ENOMEM;
	}
	return 0;
}

void
load_tx_fini(struct load_tx *tx)
{
	free(tx->headers);
	free(tx->iov);
	tx->headers = NULL;
	tx->iov = NULL;
}

bool
load_tx_has_room(const struct load_tx *tx)
{
	return tx->header_cap - tx->header_bytes >= TX_PDU_BYTES &&
	       tx->iov_cap - tx->iov_count >= TX_PDU_IOVS;
}

bool
load_tx_empty(const struct load_tx *tx)
{
	return tx->iov_head == tx->iov_count;
}

/* Appends to the header buffer, growing the last piece where it ends there: fewer pieces to send. */
static void
add_header_bytes(struct load_tx *tx, const void *bytes, uint32_t len)
{
	uint8_t *at = tx->headers + tx->header_bytes;
	memcpy(at, bytes, len);
	tx->header_bytes += len;
	if (tx->iov_count > tx->iov_head) {
		struct iovec *last = &tx->iov[tx->iov_count - 1];
		if ((uint8_t *)last->iov_base + last->iov_len == at) {
			last->iov_len += len;
			return;
		}
	}
	tx->iov[tx->iov_count++] = (struct iovec){.iov_base = at, .iov_len = len};
}

/* Digests go out with the least significant byte first (RFC 7143 §13.1). */
static void
add_digest(struct load_tx *tx, uint32_t crc)
{
	le32 wire;
	le32_put(&wire, crc);
	add_header_bytes(tx, &wire, sizeof wire);
}

void
load_tx_add(struct load_tx *tx, const struct load_params *p, void *header, const void *data,
    uint32_t len, uint32_t data_crc)
{
	ASSERT(load_tx_has_room(tx));
	ASSERT(len < 1u << 24);
	struct bench_bhs *bhs = header;
	be24 *field = &bhs->data_len;
	store_be24(field->b, len);
	add_header_bytes(tx, bhs, BENCH_BHS_BYTES);
	if (p->header_digest)
		add_digest(tx, crc32c(bhs, BENCH_BHS_BYTES));
	if (len == 0)
		return;
	/* sendmsg() only reads; struct iovec has no const. */
	tx->iov[tx->iov_count++] =
	    (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = len};
	static const uint8_t zeroes[4];
	if (len % 4)
		add_header_bytes(tx, zeroes, 4 - len % 4);
	if (p->data_digest)
		add_digest(tx, data_crc);
}

/* Takes `sent` bytes off the front. */
static void
consume(struct load_tx *tx, size_t sent)
{
	while (sent > 0) {
		struct iovec *v = &tx->iov[tx->iov_head];
		if (sent < v->iov_len) {
			v->iov_base = (uint8_t *)v->iov_base + sent;
			v->iov_len -= sent;
			return;
		}
		sent -= v->iov_len;
		tx->iov_head++;
	}
}

int
load_tx_flush(struct load_tx *tx, int fd)
{
	while (!load_tx_empty(tx)) {
		uint32_t n = tx->iov_count - tx->iov_head;
		struct msghdr msg = {
		    .msg_iov = tx->iov + tx->iov_head,
		    .msg_iovlen = n < TX_SEND_IOVS_MAX ? n : TX_SEND_IOVS_MAX,
		};
		ssize_t sent = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0) {
			if (errno == EINTR)
				continue;
			return errno == EWOULDBLOCK ? -EAGAIN : -errno;
		}
		consume(tx, (size_t)sent);
	}
	tx->iov_head = tx->iov_count = 0;
	tx->header_bytes = 0;
	return 0;
}
