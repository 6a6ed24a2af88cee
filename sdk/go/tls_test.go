package asyncflow

import (
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
)

func TestTLSByTheAuthorityOfTheFile(t *testing.T) {
	clearEnvironment(t)
	certified := httptest.NewTLSServer(nil) // for its certificate, which is for 127.0.0.1
	settings := certified.TLS.Clone()
	authority := pem.EncodeToMemory(&pem.Block{
		Type: "CERTIFICATE", Bytes: certified.Certificate().Raw,
	})
	certified.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, authority, 0o600); err != nil {
		t.Fatal(err)
	}
	address := (&fake{}).serve(t, "127.0.0.1:0", func(server *fake) *grpc.Server {
		settings.NextProtos = []string{"h2"}
		return grpc.NewServer(grpc.Creds(credentials.NewTLS(settings)),
			grpc.UnaryInterceptor(server.intercept))
	})
	for caFile, wellKnown := range map[string]bool{file: true, "": false} {
		client, err := NewClient(Config{Address: "https://" + address, CAFile: caFile})
		if err != nil {
			t.Fatal(err)
		}
		spec := &asyncflowpb.TaskSpec{TaskType: "x"}
		_, err = client.Create(within(t, 3*time.Second), spec)
		if wellKnown != (err == nil) || err != nil && !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%q: %v", caFile, err)
		}
		_ = client.Close()
	}
}
