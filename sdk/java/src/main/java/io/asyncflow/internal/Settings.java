package io.asyncflow.internal;

import java.io.IOException;
import java.net.URI;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

/**
 * How a broker is reached, with everything filled in and checked.
 *
 * @param target host and port, as gRPC wants them
 * @param isTls whether to use TLS
 * @param token what is sent with every call; empty for none
 * @param caFile PEM file of the broker's authority; null for the system's authorities
 */
public record Settings(String target, boolean isTls, String token, Path caFile) {
    /** Where a broker on this machine listens. */
    public static final String DEFAULT_ADDRESS = "http://127.0.0.1:7070";

    /**
     * Fills in what is null from the environment.
     *
     * @throws IllegalArgumentException address, token or a file are unusable
     */
    public static Settings of(
            String address, String token, Path tokenFile, Path caFile, Map<String, String> env) {
        String used = first(address, env.get("ASYNCFLOW_BROKER"), DEFAULT_ADDRESS);
        URI uri = parse(used);
        boolean isTls = "https".equals(uri.getScheme());
        int port = uri.getPort() >= 0 ? uri.getPort() : isTls ? 443 : 80;
        String ca = env.get("ASYNCFLOW_CA_FILE");
        Path authority = caFile != null || ca == null || ca.isEmpty() ? caFile : Path.of(ca);
        if (isTls && authority != null && !Files.isReadable(authority)) {
            throw new IllegalArgumentException("CA file " + authority + " cannot be read");
        }
        String bearer = tokenOf(token, tokenFile, env);
        return new Settings(uri.getHost() + ":" + port, isTls, bearer, authority);
    }

    private static URI parse(String address) {
        try {
            URI uri = new URI(address);
            boolean isHttp = "http".equals(uri.getScheme()) || "https".equals(uri.getScheme());
            String path = uri.getPath() == null ? "" : uri.getPath();
            if (isHttp && uri.getHost() != null && uri.getUserInfo() == null
                    && path.replace("/", "").isEmpty() && uri.getQuery() == null
                    && uri.getFragment() == null) {
                return uri;
            }
        } catch (URISyntaxException wrong) {
            // Told below, as every other mistake.
        }
        throw new IllegalArgumentException("address \"" + address
                + "\": write it as http://host:port or https://host:port, e.g. " + DEFAULT_ADDRESS);
    }

    private static String tokenOf(String given, Path givenFile, Map<String, String> env) {
        String token = given;
        Path file = givenFile;
        if (token == null && file == null) {
            token = env.get("ASYNCFLOW_TOKEN");
            String name = env.get("ASYNCFLOW_TOKEN_FILE");
            file = name == null || name.isEmpty() ? null : Path.of(name);
        }
        if ((token == null || token.isEmpty()) && file != null) {
            try {
                token = Files.readString(file);
            } catch (IOException wrong) {
                throw new IllegalArgumentException("token file " + file + " cannot be read", wrong);
            }
        }
        token = token == null ? "" : token.strip();
        if (!token.chars().allMatch(one -> one >= ' ' && one <= '~')) {
            throw new IllegalArgumentException("the token has characters that cannot be sent");
        }
        return token;
    }

    private static String first(String... values) {
        for (String value : values) {
            if (value != null && !value.isEmpty()) {
                return value;
            }
        }
        return "";
    }
}
