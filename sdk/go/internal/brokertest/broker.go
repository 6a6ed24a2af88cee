// Package brokertest starts a real broker and a governor for tests.
package brokertest

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	asyncflow "github.com/asyncflow/asyncflow/sdk/go"
)

const readyMax = 60 * time.Second

// Stack is a broker and its governor on a fresh database. Its leases are longer than a busy machine
// may keep a heartbeat waiting; the scenarios of all SDKs have short ones.
type Stack struct {
	t       *testing.T
	address string
	broker  *program
}

// Start starts it; it ends with the test. The programs are those of $ASYNCFLOW_BIN_DIR, else of
// this repository's debug build.
func Start(t *testing.T) *Stack {
	t.Helper()
	folder := t.TempDir()
	database := "DATABASE__URL=sqlite://" + filepath.Join(folder, "asyncflow.db")
	stack := &Stack{t: t, address: freeAddress(t)}
	stack.broker = run(t, folder, "broker", database, "LISTEN__ADDRESS="+stack.address,
		"LEASE__TTL_MS=20000", "LEASE__HEARTBEAT_INTERVAL_MS=1000",
		"DRAIN_TIME_MS=2000")
	run(t, folder, "governor", database, "LISTEN__ADDRESS="+freeAddress(t),
		"LEADER__TTL_MS=2000", "LEASE__HEARTBEAT_INTERVAL_MS=1000", "DUTIES__REAP_INTERVAL_MS=200")
	return stack
}

// Config says where the broker is.
func (s *Stack) Config() asyncflow.Config {
	return asyncflow.Config{Address: "http://" + s.address}
}

// Client is a fresh one; it is closed with the test.
func (s *Stack) Client() *asyncflow.Client {
	s.t.Helper()
	client, err := asyncflow.NewClient(s.Config())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = client.Close() })
	return client
}

// KillBroker kills the broker and starts it again at the same address.
func (s *Stack) KillBroker() {
	s.t.Helper()
	s.broker.kill()
	s.broker.start()
}

type program struct {
	t       *testing.T
	path    string
	env     []string
	log     string
	readyAt string
	command *exec.Cmd
}

func run(t *testing.T, folder, name string, settings ...string) *program {
	t.Helper()
	directory := os.Getenv("ASYNCFLOW_BIN_DIR")
	if directory == "" {
		directory, _ = filepath.Abs("../../../../target/debug")
	}
	metrics := freeAddress(t)
	made := &program{
		t: t, path: filepath.Join(directory, "asyncflow-"+name), env: os.Environ(),
		log: filepath.Join(folder, name+".log"), readyAt: "http://" + metrics + "/readyz",
	}
	for _, setting := range append(settings, "METRICS__ADDRESS="+metrics) {
		made.env = append(made.env, "ASYNCFLOW_"+strings.ToUpper(name)+"__"+setting)
	}
	// First: what does not become ready has to end, too.
	t.Cleanup(made.kill)
	made.start()
	return made
}

func (p *program) start() {
	p.t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	p.command = exec.Command(p.path)
	p.command.Env, p.command.Stdout, p.command.Stderr = p.env, log, log
	if err := p.command.Start(); err != nil {
		p.t.Fatalf("%v: cargo build --workspace --bins", err)
	}
	asking := &http.Client{Timeout: 5 * time.Second}
	for end := time.Now().Add(readyMax); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if answer, err := asking.Get(p.readyAt); err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return
			}
		}
	}
	text, _ := os.ReadFile(p.log)
	p.t.Fatalf("%s is not ready:\n%s", p.path, text)
}

func (p *program) kill() {
	if p.command == nil || p.command.Process == nil {
		return
	}
	_ = p.command.Process.Kill()
	_ = p.command.Wait()
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return fmt.Sprint(listener.Addr())
}
