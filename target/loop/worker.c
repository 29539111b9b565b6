/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A few helper threads of the process for calls that block. They start when there is work and end
 * with the last loop. The lock guards the queue and the table of what each helper does; it is never
 * held while a job works or a message is sent.
 */
#include <pthread.h>
#include <signal.h>

#include "loop/loop_priv.h"

#define HELPERS_MAX 4u

static struct {
	pthread_mutex_t lock;
	pthread_cond_t more;    /* a job was queued, or `ending` */
	pthread_cond_t settled; /* a helper has let go of a loop */
	struct loop_job *first, *last;
	pthread_t threads[HELPERS_MAX];
	const struct loop *busy_with[HELPERS_MAX]; /* until its message is sent */
	unsigned started, waiting;
	unsigned holds; /* loops in existence */
	bool ending;
} w = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .more = PTHREAD_COND_INITIALIZER,
    .settled = PTHREAD_COND_INITIALIZER,
};

static void
job_done(struct loop_msg *m)
{
	struct loop_job *j = container_of(m, struct loop_job, msg);
	j->done(j, j->result);
}

/* Works off the queue as helper number `me`; called with the lock held. */
static void
work_queue(unsigned me)
{
	struct loop_job *j;
	while ((j = w.first)) {
		w.first = container_of(j->msg.next, struct loop_job, msg);
		if (!j->msg.next)
			w.first = w.last = NULL;
		struct loop *l = j->loop;
		w.busy_with[me] = l;
		pthread_mutex_unlock(&w.lock);
		j->result = j->work(j);
		j->msg.run = job_done;
		loop_send(l, &j->msg);
		pthread_mutex_lock(&w.lock);
		w.busy_with[me] = NULL;
		pthread_cond_broadcast(&w.settled);
	}
}

static void *
helper_main(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;
	pthread_setname_np(pthread_self(), "helper");
	pthread_mutex_lock(&w.lock);
	while (!w.ending) {
		work_queue(me);
		if (w.ending)
			break;
		w.waiting++;
		pthread_cond_wait(&w.more, &w.lock);
		w.waiting--;
	}
	pthread_mutex_unlock(&w.lock);
	return NULL;
}

/* One more helper. With the lock held; false if there can't be one. */
static bool
start_helper(void)
{
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	int r =
	    pthread_create(&w.threads[w.started], NULL, helper_main, (void *)(uintptr_t)w.started);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r != 0)
		return false;
	w.started++;
	return true;
}

void
worker_submit(struct loop_job *j)
{
	j->msg.next = NULL;
	pthread_mutex_lock(&w.lock);
	if (w.waiting == 0 && w.started < HELPERS_MAX && !start_helper() && w.started == 0) {
		/* No thread to be had: slow beats never. */
		pthread_mutex_unlock(&w.lock);
		j->result = j->work(j);
		j->msg.run = job_done;
		loop_send(j->loop, &j->msg);
		return;
	}
	if (w.last)
		w.last->msg.next = &j->msg;
	else
		w.first = j;
	w.last = j;
	pthread_cond_signal(&w.more);
	pthread_mutex_unlock(&w.lock);
}

void
worker_quiesce(const struct loop *l)
{
	pthread_mutex_lock(&w.lock);
	for (unsigned i = 0; i < HELPERS_MAX; i++)
		while (w.busy_with[i] == l)
			pthread_cond_wait(&w.settled, &w.lock);
	pthread_mutex_unlock(&w.lock);
}

void
worker_hold(void)
{
	pthread_mutex_lock(&w.lock);
	w.holds++;
	pthread_mutex_unlock(&w.lock);
}

void
worker_release(void)
{
	pthread_mutex_lock(&w.lock);
	ASSERT(w.holds > 0);
	if (--w.holds > 0) {
		pthread_mutex_unlock(&w.lock);
		return;
	}
	/* The last loop: nobody is left who could submit. */
	ASSERT(!w.first);
	w.ending = true;
	pthread_cond_broadcast(&w.more);
	unsigned started = w.started;
	pthread_mutex_unlock(&w.lock);
	for (unsigned i = 0; i < started; i++)
		pthread_join(w.threads[i], NULL);
	w.started = 0;
	w.ending = false;
}
