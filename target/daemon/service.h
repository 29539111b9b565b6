/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the service manager is told, by datagrams to $NOTIFY_SOCKET (sd_notify(3)): that portals listen,
 * what is being done, that the end has begun; and, as long as every loop answers, that we are alive
 * ($WATCHDOG_USEC). Without a service manager nothing is sent. Sending never waits: what can't be sent
 * at once is left out.
 */
#ifndef DAEMON_SERVICE_H
#define DAEMON_SERVICE_H

#include <stdint.h>

#include "daemon/daemon.h"

struct service;

/* Steps of the start. The environment is cleared: what we start isn't meant by it. 0, -ENOMEM. */
int daemon_open_service(void *ctx);
void daemon_close_service(void *ctx);

/* Any time between the steps; on the thread of the home loop. Text is cut at the end of its line. */
void daemon_service_ready(struct daemon *d);
void daemon_service_stopping(struct daemon *d);
void daemon_service_serving(struct daemon *d); /* what it does when nothing else is said */
void daemon_service_status(struct daemon *d, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
