package asyncflow

import (
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
)

// Client is a connection to a broker; safe for concurrent use. See the package for deadlines,
// repetitions and errors.
type Client struct {
	conn    *grpc.ClientConn
	broker  asyncflowpb.BrokerServiceClient
	timeout time.Duration
}

// NewClient prepares a connection; it is made at the first call, and again after a break.
//
// Errors: the address, the token or the CA file is unusable.
func NewClient(config Config) (*Client, error) {
	settings, err := config.resolve()
	if err != nil {
		return nil, err
	}
	conn, err := dial(settings, repeater{timeout: settings.timeout}.unary)
	if err != nil {
		return nil, err
	}
	broker := asyncflowpb.NewBrokerServiceClient(conn)
	return &Client{conn: conn, broker: broker, timeout: settings.timeout}, nil
}

// Close ends the connection; calls that are under way fail.
func (c *Client) Close() error {
	return c.conn.Close()
}

// Conn is for stubs of your own, e.g. asyncflowpb.NewGovernorServiceClient: calls on it have the
// same deadlines, request ids, repetitions and errors. Streams are not opened again.
func (c *Client) Conn() grpc.ClientConnInterface {
	return c.conn
}

// Broker is the whole BrokerService: workflows, signals and everything that Client has no method
// for.
func (c *Client) Broker() asyncflowpb.BrokerServiceClient {
	return c.broker
}

// Operations is the whole OperationService: changes of many tasks at once.
func (c *Client) Operations() asyncflowpb.OperationServiceClient {
	return asyncflowpb.NewOperationServiceClient(c.conn)
}

// Schedules is the whole ScheduleService: tasks that are made by the clock.
func (c *Client) Schedules() asyncflowpb.ScheduleServiceClient {
	return asyncflowpb.NewScheduleServiceClient(c.conn)
}

// Hosts is the whole HostService: hosts, GPUs and who uses them.
func (c *Client) Hosts() asyncflowpb.HostServiceClient {
	return asyncflowpb.NewHostServiceClient(c.conn)
}

// NewRequestID makes a random request id. Those that follow each other in time stand side by side
// in the index of a database.
func NewRequestID() string {
	return uuid.Must(uuid.NewV7()).String()
}
