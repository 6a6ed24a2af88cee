package asyncflow

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
)

const (
	// A half-open connection is noticed after the sum of both.
	keepAliveInterval = 10 * time.Second
	keepAliveTimeout  = 5 * time.Second
	connectTimeout    = 3 * time.Second
	// The largest answer that is accepted: a page of full tasks.
	messageBytesMax = 64 << 20
	traceHeader     = "traceparent"
)

// Dial opens a plain connection: every call carries the token and a trace, and every error is an
// [*Error], but nothing is repeated and no deadline is set. Package worker is built on it; clients
// want [NewClient], and [Client.Conn] for stubs with deadlines and repetitions. It connects at the
// first call, and again after a break.
//
// Errors: the address, the token or the CA file is unusable.
func Dial(config Config) (*grpc.ClientConn, error) {
	settings, err := config.resolve()
	if err != nil {
		return nil, err
	}
	return dial(settings)
}

func dial(settings resolved, unary ...grpc.UnaryClientInterceptor) (*grpc.ClientConn, error) {
	headers := headers{bearer: settings.bearer}
	return grpc.NewClient("dns:///"+settings.target,
		grpc.WithTransportCredentials(settings.credentials),
		grpc.WithChainUnaryInterceptor(append(unary, headers.unary)...),
		grpc.WithStreamInterceptor(headers.stream),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(messageBytesMax)),
		grpc.WithUserAgent("asyncflow-go/"+Version),
		grpc.WithDisableServiceConfig(),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time:                keepAliveInterval,
			Timeout:             keepAliveTimeout,
			PermitWithoutStream: true,
		}),
		// Calls are repeated with waits of their own, which end these.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay: 100 * time.Millisecond, Multiplier: 2, Jitter: 0.2,
				MaxDelay: 5 * time.Second,
			},
			MinConnectTimeout: connectTimeout,
		}),
	)
}

// headers puts token and trace on each call, and makes its error one of ours.
type headers struct {
	bearer string
}

func (h headers) mark(ctx context.Context) context.Context {
	if h.bearer != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", h.bearer)
	}
	return traced(ctx)
}

func (h headers) unary(
	ctx context.Context, method string, request, answer any, conn *grpc.ClientConn,
	invoker grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	return asError(ctx, invoker(h.mark(ctx), method, request, answer, conn, options...))
}

func (h headers) stream(
	ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string,
	streamer grpc.Streamer, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	opened, err := streamer(h.mark(ctx), desc, conn, method, options...)
	if err != nil {
		return nil, asError(ctx, err)
	}
	return stream{opened}, nil
}

type stream struct {
	grpc.ClientStream
}

func (s stream) RecvMsg(message any) error {
	err := s.ClientStream.RecvMsg(message)
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return asError(s.Context(), err)
}

// traced begins a new trace unless the caller has set one. By it the logs of client, broker and
// worker are found together.
func traced(ctx context.Context) context.Context {
	given, _ := metadata.FromOutgoingContext(ctx)
	if len(given.Get(traceHeader)) > 0 {
		return ctx
	}
	return WithTrace(ctx, "")
}

// WithTrace makes calls under this context a part of a trace: of the task whose TraceId is given,
// or of a new one when it is not 32 hexadecimal digits.
func WithTrace(ctx context.Context, traceID string) context.Context {
	var fresh [24]byte
	_, _ = rand.Read(fresh[:]) // it never fails
	if id, err := hex.DecodeString(traceID); err != nil || len(id) != 16 {
		traceID = hex.EncodeToString(fresh[:16])
	}
	span := hex.EncodeToString(fresh[16:])
	given, _ := metadata.FromOutgoingContext(ctx)
	given = given.Copy()
	given.Set(traceHeader, "00-"+traceID+"-"+span+"-01")
	return metadata.NewOutgoingContext(ctx, given)
}
