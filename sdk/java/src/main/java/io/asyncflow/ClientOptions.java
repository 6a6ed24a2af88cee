package io.asyncflow;

import io.asyncflow.internal.Settings;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Objects;

/**
 * How a broker is reached. What is left out comes from the environment. Immutable: each method
 * gives another one.
 */
public final class ClientOptions {
    private static final ClientOptions DEFAULT =
            new ClientOptions(null, null, null, null, Duration.ofSeconds(30));

    private final String address;
    private final String token;
    private final Path tokenFile;
    private final Path caFile;
    private final Duration timeout;

    private ClientOptions(
            String address, String token, Path tokenFile, Path caFile, Duration timeout) {
        this.address = address;
        this.token = token;
        this.tokenFile = tokenFile;
        this.caFile = caFile;
        this.timeout = timeout;
    }

    /** All of it from the environment. */
    public static ClientOptions fromEnvironment() {
        return DEFAULT;
    }

    /**
     * {@code http://host:port}, or {@code https://host:port} for TLS. Else ASYNCFLOW_BROKER, else
     * http://127.0.0.1:7070.
     */
    public ClientOptions address(String address) {
        return new ClientOptions(address, token, tokenFile, caFile, timeout);
    }

    /** Sent with every call. Else ASYNCFLOW_TOKEN, else what is in ASYNCFLOW_TOKEN_FILE. */
    public ClientOptions token(String token) {
        return new ClientOptions(address, token, tokenFile, caFile, timeout);
    }

    /** A file with the token. */
    public ClientOptions tokenFile(Path tokenFile) {
        return new ClientOptions(address, token, tokenFile, caFile, timeout);
    }

    /**
     * A PEM file of the authority that signed the broker's certificate. Else ASYNCFLOW_CA_FILE,
     * else the system's authorities.
     */
    public ClientOptions caFile(Path caFile) {
        return new ClientOptions(address, token, tokenFile, caFile, timeout);
    }

    /**
     * The deadline, repetitions included, of a call that has none of its own, and how long a watch
     * tries to come back. Default 30 s.
     *
     * @throws IllegalArgumentException it is not positive
     */
    public ClientOptions timeout(Duration timeout) {
        if (Objects.requireNonNull(timeout).isNegative() || timeout.isZero()) {
            throw new IllegalArgumentException("timeout " + timeout + ": it must be positive");
        }
        return new ClientOptions(address, token, tokenFile, caFile, timeout);
    }

    /** The timeout. */
    public Duration timeout() {
        return timeout;
    }

    /**
     * With everything filled in; for the SDK itself.
     *
     * @throws IllegalArgumentException address, token or a file are unusable
     */
    public Settings settings() {
        return Settings.of(address, token, tokenFile, caFile, System.getenv());
    }
}
