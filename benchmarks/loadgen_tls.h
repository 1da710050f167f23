/* What loadgen.c does with OpenSSL; without -DWITH_TLS, that it cannot. A part of that file. */

#ifdef WITH_TLS
static SSL_CTX *tls_context;
static char negotiated[128]; /* version and cipher of the last handshake */

static void die_of_tls(const char *what)
{
    fprintf(stderr, "loadgen: %s: ", what);
    ERR_print_errors_fp(stderr);
    exit(2);
}

static void make_tls_context(void)
{
    int version = !strcmp(set.tls, "1.2") ? TLS1_2_VERSION : TLS1_3_VERSION;
    tls_context = SSL_CTX_new(TLS_client_method());
    if (!tls_context || !SSL_CTX_set_min_proto_version(tls_context, version) ||
        !SSL_CTX_set_max_proto_version(tls_context, version))
        die_of_tls("context");
    SSL_CTX_set_verify(tls_context, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(tls_context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(tls_context,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* One recv for many records, but no buffer for them where there are none. */
    SSL_CTX_set_read_ahead(tls_context, 1);
    if (set.size >= 4096)
        SSL_CTX_set_default_read_buffer_len(tls_context, TLS_READ_BYTES);
}

static void start_tls(struct connection *c)
{
    c->tls = SSL_new(tls_context);
    if (!c->tls || !SSL_set_fd(c->tls, c->fd))
        die_of_tls("SSL_new");
    SSL_set_connect_state(c->tls);
}

/* Return what `result`, of an SSL function, means. */
static ssize_t meaning_of(struct connection *c, int result)
{
    if (result > 0)
        return result;
    switch (SSL_get_error(c->tls, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: return AGAIN;
    case SSL_ERROR_ZERO_RETURN: return ENDED;
    default: return BROKEN;
    }
}

/* Go on with a handshake; return AGAIN if it waits, BROKEN, or more than 0 when it is done. */
static ssize_t shake_hands(struct connection *c)
{
    ERR_clear_error();
    ssize_t done = meaning_of(c, SSL_do_handshake(c->tls));
    if (done > 0 && !*negotiated)
        snprintf(negotiated, sizeof negotiated, "%s %s", SSL_get_version(c->tls),
                 SSL_get_cipher_name(c->tls));
    return done;
}

static void end_tls(struct connection *c, bool in_order)
{
    if (in_order)
        SSL_shutdown(c->tls); /* sends close_notify, and does not wait for the server's */
    SSL_free(c->tls);
    c->tls = NULL;
}

static bool waits_to_write(struct connection *c) { return SSL_want_write(c->tls); }

static ssize_t put_tls(struct connection *c, const uint8_t *data, size_t nbytes)
{
    ERR_clear_error();
    return meaning_of(c, SSL_write(c->tls, data, (int)nbytes));
}

static ssize_t get_tls(struct connection *c, uint8_t *data, size_t nbytes)
{
    ERR_clear_error();
    return meaning_of(c, SSL_read(c->tls, data, (int)nbytes));
}
#else
static const char negotiated[] = "";
static void make_tls_context(void)
{
    fprintf(stderr, "loadgen: compiled without TLS\n");
    exit(2);
}
static void start_tls(struct connection *c) { (void)c; }
static ssize_t shake_hands(struct connection *c) { (void)c; return BROKEN; }
static void end_tls(struct connection *c, bool in_order) { (void)c; (void)in_order; }
static bool waits_to_write(struct connection *c) { (void)c; return false; }
static ssize_t put_tls(struct connection *c, const uint8_t *data, size_t nbytes)
{
    (void)c; (void)data; (void)nbytes;
    return BROKEN;
}
static ssize_t get_tls(struct connection *c, uint8_t *data, size_t nbytes)
{
    (void)c; (void)data; (void)nbytes;
    return BROKEN;
}
#endif
