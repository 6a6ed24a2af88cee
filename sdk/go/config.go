package asyncflow

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// DefaultAddress is where a broker on this machine listens.
const DefaultAddress = "http://127.0.0.1:7070"

const defaultTimeout = 30 * time.Second

// Config says how a broker is reached. What is left out comes from the environment, so the zero
// value is ready to use.
type Config struct {
	// Address is http://host:port, or https://host:port for TLS. Else ASYNCFLOW_BROKER, else
	// DefaultAddress.
	Address string
	// Token is sent with every call. Else ASYNCFLOW_TOKEN, else what is in TokenFile, else in the
	// file that ASYNCFLOW_TOKEN_FILE names.
	Token     string
	TokenFile string
	// CAFile is a PEM file of the authority that signed the broker's certificate. Else
	// ASYNCFLOW_CA_FILE, else the system's authorities.
	CAFile string
	// Timeout is the deadline, repetitions included, of a call whose context has none. It is also
	// how long a watch tries to come back. Default 30 s.
	Timeout time.Duration
}

// resolved is a Config with everything filled in and checked.
type resolved struct {
	target      string
	bearer      string
	credentials credentials.TransportCredentials
	timeout     time.Duration
}

func (c Config) resolve() (resolved, error) {
	address := first(c.Address, os.Getenv("ASYNCFLOW_BROKER"), DefaultAddress)
	target, isTLS, err := parseAddress(address)
	if err != nil {
		return resolved{}, fmt.Errorf("asyncflow: address %q: %w", address, err)
	}
	token, err := c.token()
	if err != nil {
		return resolved{}, fmt.Errorf("asyncflow: %w", err)
	}
	out := resolved{target: target, credentials: insecure.NewCredentials(), timeout: c.Timeout}
	if out.timeout <= 0 {
		out.timeout = defaultTimeout
	}
	if token != "" {
		out.bearer = "Bearer " + token
	}
	if isTLS {
		out.credentials, err = c.tls()
		if err != nil {
			return resolved{}, fmt.Errorf("asyncflow: %w", err)
		}
	}
	return out, nil
}

// parseAddress gives host and port as gRPC wants them, and whether to use TLS.
func parseAddress(address string) (target string, isTLS bool, err error) {
	parts, err := url.Parse(address)
	if err != nil {
		return "", false, errors.New("write it as http://host:port, e.g. " + DefaultAddress)
	}
	switch parts.Scheme {
	case "http":
	case "https":
		isTLS = true
	default:
		return "", false, errors.New("it must begin with http:// or https://")
	}
	if parts.Hostname() == "" || parts.User != nil || strings.Trim(parts.Path, "/") != "" ||
		parts.RawQuery != "" || parts.Fragment != "" {
		return "", false, fmt.Errorf("write it as %s://host:port, e.g. %s", parts.Scheme,
			DefaultAddress)
	}
	target = parts.Host
	if parts.Port() == "" {
		target = strings.TrimSuffix(target, ":") + map[bool]string{false: ":80", true: ":443"}[isTLS]
	}
	return target, isTLS, nil
}

func (c Config) token() (string, error) {
	token := c.Token
	file := c.TokenFile
	if token == "" && file == "" {
		token, file = os.Getenv("ASYNCFLOW_TOKEN"), os.Getenv("ASYNCFLOW_TOKEN_FILE")
	}
	if token == "" && file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("token file: %w", err)
		}
		token = string(data)
	}
	token = strings.TrimSpace(token)
	for _, char := range token {
		if char < ' ' || char > '~' {
			return "", errors.New("the token has characters that cannot be sent")
		}
	}
	return token, nil
}

func (c Config) tls() (credentials.TransportCredentials, error) {
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	if file := first(c.CAFile, os.Getenv("ASYNCFLOW_CA_FILE")); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("CA file: %w", err)
		}
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("CA file %s: there is no PEM certificate in it", file)
		}
	}
	return credentials.NewTLS(settings), nil
}

func first(values ...string) string {
	for _, value := range values {
		if value != "" {
			return value
		}
	}
	return ""
}
