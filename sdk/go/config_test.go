package asyncflow

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func clearEnvironment(t *testing.T) {
	for _, name := range []string{"BROKER", "TOKEN", "TOKEN_FILE", "CA_FILE"} {
		t.Setenv("ASYNCFLOW_"+name, "")
	}
}

func TestAddressesAreReadOrRefused(t *testing.T) {
	clearEnvironment(t)
	for address, want := range map[string]string{
		"":                       "127.0.0.1:7070",
		"http://localhost:7070":  "localhost:7070",
		"http://localhost:7070/": "localhost:7070",
		"http://broker":          "broker:80",
		"https://broker":         "broker:443",
		"http://[::1]:7070":      "[::1]:7070",
		"http://[::1]":           "[::1]:80",
	} {
		settings, err := Config{Address: address}.resolve()
		if err != nil || settings.target != want {
			t.Errorf("%q: %q, %v", address, settings.target, err)
		}
	}
	for _, address := range []string{
		"localhost:7070", "ftp://x", "http://", "http://a b", "http://u:p@host:1", "http://h:1/path",
		"http://h:1?q=1", "7070",
	} {
		if _, err := (Config{Address: address}).resolve(); err == nil ||
			!strings.Contains(err.Error(), address) {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestArgumentsWinOverTheEnvironment(t *testing.T) {
	clearEnvironment(t)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ASYNCFLOW_BROKER", "http://other:1")
	t.Setenv("ASYNCFLOW_TOKEN_FILE", file)
	check := func(config Config, target, bearer string) {
		t.Helper()
		settings, err := config.resolve()
		if err != nil || settings.target != target || settings.bearer != bearer {
			t.Errorf("%q %q %v", settings.target, settings.bearer, err)
		}
	}
	check(Config{}, "other:1", "Bearer from a file")
	check(Config{Address: "http://mine:2", Token: "mine"}, "mine:2", "Bearer mine")
	t.Setenv("ASYNCFLOW_TOKEN", "in the environment")
	check(Config{}, "other:1", "Bearer in the environment")
	check(Config{TokenFile: file}, "other:1", "Bearer from a file")
}

func TestWhatCannotBeUsedIsSaid(t *testing.T) {
	clearEnvironment(t)
	none := filepath.Join(t.TempDir(), "none.pem")
	if err := os.WriteFile(none, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, config := range []Config{
		{Token: "line\nbreak"},
		{TokenFile: "/no/such/file"},
		{Address: "https://h", CAFile: "/no/such/file"},
		{Address: "https://h", CAFile: none},
	} {
		if _, err := NewClient(config); err == nil || strings.Contains(err.Error(), "line\nbreak") {
			t.Errorf("%+v: %v", config, err)
		}
	}
}
