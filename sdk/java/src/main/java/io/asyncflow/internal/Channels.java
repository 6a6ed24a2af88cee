package io.asyncflow.internal;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.TlsChannelCredentials;
import java.io.IOException;
import java.util.concurrent.TimeUnit;

/** Makes channels that carry token and trace with every call. */
public final class Channels {
    /** The SDK's version. */
    public static final String VERSION = "0.1.0";

    // A half-open connection is noticed after the sum of both.
    private static final int KEEP_ALIVE_SECONDS = 10;
    private static final int KEEP_ALIVE_TIMEOUT_SECONDS = 5;
    // The largest answer that is accepted: a page of full tasks.
    private static final int MESSAGE_BYTES_MAX = 64 << 20;
    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    private Channels() {}

    /**
     * Prepares a channel; it connects at the first call.
     *
     * @throws IllegalArgumentException the CA file is unusable
     */
    public static ManagedChannel open(Settings settings) {
        return Grpc.newChannelBuilder("dns:///" + settings.target(), credentials(settings))
                .keepAliveTime(KEEP_ALIVE_SECONDS, TimeUnit.SECONDS)
                .keepAliveTimeout(KEEP_ALIVE_TIMEOUT_SECONDS, TimeUnit.SECONDS)
                .keepAliveWithoutCalls(true)
                .maxInboundMessageSize(MESSAGE_BYTES_MAX)
                .userAgent("asyncflow-java/" + VERSION)
                .disableServiceConfigLookUp()
                // Calls are repeated by this SDK, which knows which of them are safe.
                .disableRetry()
                .intercept(new Headers(settings.token()))
                .build();
    }

    private static ChannelCredentials credentials(Settings settings) {
        if (!settings.isTls()) {
            return InsecureChannelCredentials.create();
        }
        TlsChannelCredentials.Builder tls = TlsChannelCredentials.newBuilder();
        if (settings.caFile() != null) {
            try {
                tls.trustManager(settings.caFile().toFile());
            } catch (IOException wrong) {
                throw new IllegalArgumentException(
                        "CA file " + settings.caFile() + " cannot be read", wrong);
            }
        }
        return tls.build();
    }

    private record Headers(String token) implements ClientInterceptor {
        @Override
        public <Q, A> ClientCall<Q, A> interceptCall(
                MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
            return new SimpleForwardingClientCall<>(next.newCall(method, options)) {
                @Override
                public void start(Listener<A> listener, Metadata headers) {
                    if (!token.isEmpty()) {
                        headers.put(AUTHORIZATION, "Bearer " + token);
                    }
                    Trace.ensure(headers);
                    super.start(listener, headers);
                }
            };
        }
    }
}
