/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tells AddressSanitizer which parts of a pool are free, so that use after put is found there as it
 * is with malloc. Nothing without the sanitizer.
 */
#ifndef BASE_POISON_H
#define BASE_POISON_H

#if defined(__SANITIZE_ADDRESS__)
#define BASE_HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BASE_HAVE_ASAN 1
#endif
#endif

#ifdef BASE_HAVE_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(addr, len) ASAN_POISON_MEMORY_REGION(addr, len)
#define UNPOISON(addr, len) ASAN_UNPOISON_MEMORY_REGION(addr, len)
#else
#define POISON(addr, len) ((void)(addr), (void)(len))
#define UNPOISON(addr, len) ((void)(addr), (void)(len))
#endif

#endif
