#include "node/hook_deliver.h"

#include <curl/curl.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"

/* What a receiver answers, headers included, is thrown away, and more than this breaks the attempt off. */
#define ANSWER_BYTES_MAX (64u * 1024)

struct hook_thread {
    const struct hook_options *options;
    struct mailbox *reply_to;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct hook_delivery *next;
    bool stopping;
    _Atomic(bool) break_off;
    CURL *curl;
    size_t answered;
};

static size_t on_answer(char *data, size_t size, size_t n, void *arg)
{
    struct hook_thread *thread = arg;
    (void)data;
    thread->answered += size * n;
    return thread->answered > ANSWER_BYTES_MAX ? 0 : size * n;
}

static int on_progress(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
    struct hook_thread *thread = arg;
    (void)down_total, (void)down, (void)up_total, (void)up;
    return atomic_load(&thread->break_off);
}

/* No redirect: where events go is what the operator wrote down. No proxy from the environment, no signals. */
static void set_up(struct hook_thread *thread)
{
    CURL *curl = thread->curl = curl_easy_init();
    const struct hook_options *options = thread->options;
    CHECK(curl != NULL);
    CHECK(curl_easy_setopt(curl, CURLOPT_URL, options->url) == CURLE_OK);
    CHECK(curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK);
    CHECK(curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK);
    /* A name server that is silent holds libcurl's own thread for names, not this one. */
    CHECK(curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK);
    CHECK(curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK);
    CHECK(curl_easy_setopt(curl, CURLOPT_PROXY, "") == CURLE_OK);
    CHECK(curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)options->timeout_ms) == CURLE_OK);
    CHECK(curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)options->timeout_ms) == CURLE_OK);
    CHECK(curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK);
    CHECK(curl_easy_setopt(curl, CURLOPT_USERAGENT, "lapsed/" LAPSE_VERSION) == CURLE_OK);
    CHECK(curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_answer) == CURLE_OK);
    CHECK(curl_easy_setopt(curl, CURLOPT_WRITEDATA, thread) == CURLE_OK);
    CHECK(curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_answer) == CURLE_OK);
    CHECK(curl_easy_setopt(curl, CURLOPT_HEADERDATA, thread) == CURLE_OK);
    CHECK(curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L) == CURLE_OK);
    CHECK(curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress) == CURLE_OK);
    CHECK(curl_easy_setopt(curl, CURLOPT_XFERINFODATA, thread) == CURLE_OK);
    if (options->ca_file[0] != '\0')
        CHECK(curl_easy_setopt(curl, CURLOPT_CAINFO, options->ca_file) == CURLE_OK);
}

/* From lines to libcurl's list; "Expect:" takes out a header that costs a round trip. */
static struct curl_slist *header_list(const struct buf *headers)
{
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    char *lines = mem_alloc(headers->len + 1), *rest = NULL;
    memcpy(lines, headers->data, headers->len);
    lines[headers->len] = '\0';
    for (char *line = strtok_r(lines, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
        list = curl_slist_append(list, line);
    OPENSSL_cleanse(lines, headers->len);
    free(lines);
    CHECK(list != NULL);
    return list;
}

/* The status is the receiver's word: a body that is endless, slow or cut off changes nothing of it, and to send again
 * what was taken would be no better. */
static void judge(struct hook_thread *thread, CURLcode code, struct hook_delivery *delivery)
{
    (void)curl_easy_getinfo(thread->curl, CURLINFO_RESPONSE_CODE, &delivery->status);
    delivery->taken = delivery->status >= 200 && delivery->status < 300;
    if (delivery->taken)
        return;
    if (code != CURLE_OK)
        (void)snprintf(delivery->message, sizeof delivery->message, "%s", curl_easy_strerror(code));
    else
        (void)snprintf(delivery->message, sizeof delivery->message, "the receiver answered %ld", delivery->status);
}

static void attempt(struct hook_thread *thread, struct hook_delivery *delivery)
{
    struct curl_slist *headers = header_list(&delivery->headers);
    thread->answered = 0;
    delivery->status = 0;
    delivery->message[0] = '\0';
    CHECK(curl_easy_setopt(thread->curl, CURLOPT_HTTPHEADER, headers) == CURLE_OK);
    CHECK(curl_easy_setopt(thread->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)delivery->body.len) == CURLE_OK);
    CHECK(curl_easy_setopt(thread->curl, CURLOPT_POSTFIELDS, delivery->body.data) == CURLE_OK);
    judge(thread, curl_easy_perform(thread->curl), delivery);
    curl_slist_free_all(headers);
}

static struct hook_delivery *take(struct hook_thread *thread)
{
    CHECK(pthread_mutex_lock(&thread->lock) == 0);
    while (thread->next == NULL && !thread->stopping)
        CHECK(pthread_cond_wait(&thread->wake, &thread->lock) == 0);
    struct hook_delivery *delivery = thread->next;
    thread->next = NULL;
    CHECK(pthread_mutex_unlock(&thread->lock) == 0);
    return delivery;
}

static void *run(void *arg)
{
    struct hook_thread *thread = arg;
    struct hook_delivery *delivery;
    set_up(thread);
    while ((delivery = take(thread)) != NULL) {
        attempt(thread, delivery);
        mailbox_answer(thread->reply_to, &delivery->mail);
    }
    curl_easy_cleanup(thread->curl);
    return NULL;
}

struct hook_thread *hook_thread_start(const struct hook_options *options, struct mailbox *reply_to)
{
    struct hook_thread *thread = mem_calloc(1, sizeof *thread);
    sigset_t all, before;
    thread->options = options;
    thread->reply_to = reply_to;
    CHECK(pthread_mutex_init(&thread->lock, NULL) == 0 && pthread_cond_init(&thread->wake, NULL) == 0);
    /* Signals are the main thread's. */
    CHECK(sigfillset(&all) == 0 && pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    CHECK(pthread_create(&thread->thread, NULL, run, thread) == 0);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    return thread;
}

void hook_deliver(struct hook_thread *thread, struct hook_delivery *delivery)
{
    CHECK(pthread_mutex_lock(&thread->lock) == 0);
    CHECK(thread->next == NULL);
    thread->next = delivery;
    CHECK(pthread_cond_signal(&thread->wake) == 0 && pthread_mutex_unlock(&thread->lock) == 0);
}

void hook_thread_break_off(struct hook_thread *thread)
{
    if (thread != NULL)
        atomic_store(&thread->break_off, true);
}

void hook_thread_stop(struct hook_thread *thread)
{
    if (thread == NULL)
        return;
    hook_thread_break_off(thread);
    CHECK(pthread_mutex_lock(&thread->lock) == 0);
    thread->stopping = true;
    CHECK(pthread_cond_signal(&thread->wake) == 0 && pthread_mutex_unlock(&thread->lock) == 0);
    CHECK(pthread_join(thread->thread, NULL) == 0);
    CHECK(pthread_mutex_destroy(&thread->lock) == 0 && pthread_cond_destroy(&thread->wake) == 0);
    free(thread);
}
