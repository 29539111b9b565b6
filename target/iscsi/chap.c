/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CHAP's hash: H(identifier, secret, challenge), RFC 1994 §4.1, with the algorithms of RFC 7143
 * §12.1.3 and the IANA registry (5 MD5, 6 SHA-1, 7 SHA-256, 8 SHA3-256).
 */
#include "iscsi/iscsi_priv.h"

#include <openssl/evp.h>
#include <string.h>

static const EVP_MD *
chap_md(enum iscsi_chap_alg alg)
{
	switch (alg) {
	case CHAP_MD5:
		return EVP_md5();
	case CHAP_SHA1:
		return EVP_sha1();
	case CHAP_SHA256:
		return EVP_sha256();
	case CHAP_SHA3_256:
		return EVP_sha3_256();
	}
	return NULL;
}

size_t
iscsi_chap_hash(enum iscsi_chap_alg alg, uint8_t id, const void *secret, size_t secret_len,
    const void *challenge, size_t challenge_len, uint8_t ret[ISCSI_CHAP_HASH_MAX])
{
	const EVP_MD *md = chap_md(alg);
	if (!md)
		return 0;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	if (!ctx)
		return 0;
	uint8_t hash[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	/* Each step can fail: a provider restricted to approved algorithms has no MD5. */
	if (EVP_DigestInit_ex(ctx, md, NULL) != 1 || EVP_DigestUpdate(ctx, &id, 1) != 1 ||
	    EVP_DigestUpdate(ctx, secret, secret_len) != 1 ||
	    EVP_DigestUpdate(ctx, challenge, challenge_len) != 1 ||
	    EVP_DigestFinal_ex(ctx, hash, &len) != 1 || len > ISCSI_CHAP_HASH_MAX)
		len = 0;
	EVP_MD_CTX_free(ctx);
	memcpy(ret, hash, len);
	explicit_bzero(hash, sizeof hash);
	return len;
}
