package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	asyncflow "github.com/asyncflow/asyncflow/sdk/go"
	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
)

// fields are those of all steps; which of them a verb has is in `verbs`.
type fields struct {
	Task       json.RawMessage   `json:"task"`
	Tasks      []json.RawMessage `json:"tasks"`
	RequestID  string            `json:"request_id"`
	Filter     string            `json:"filter"`
	PageSize   int32             `json:"page_size"`
	TaskType   string            `json:"task_type"`
	States     []string          `json:"states"`
	TimeoutS   *float64          `json:"timeout_s"`
	DeadlineMS float64           `json:"deadline_ms"`
	Watch      string            `json:"watch"`
	State      string            `json:"state"`
	Worker     string            `json:"worker"`
	Handlers   map[string]string `json:"handlers"`
	Slots      int               `json:"slots"`
	DrainS     float64           `json:"drain_s"`
}

// id is `task` where it names one.
func (f fields) id() string {
	var id string
	_ = json.Unmarshal(f.Task, &id) // a bad one is refused by the broker
	return id
}

func (f fields) timeout(otherwise time.Duration) time.Duration {
	if f.TimeoutS == nil {
		return otherwise
	}
	return seconds(*f.TimeoutS)
}

func seconds(given float64) time.Duration {
	return time.Duration(given * float64(time.Second))
}

// player does the steps of one scenario with a fresh client.
type player struct {
	client  *asyncflow.Client
	watches map[string]*watch
	workers map[string]*running
}

func newPlayer() (*player, error) {
	client, err := asyncflow.NewClient(asyncflow.Config{})
	if err != nil {
		return nil, err
	}
	return &player{
		client: client, watches: map[string]*watch{}, workers: map[string]*running{},
	}, nil
}

func (p *player) close() error {
	var failed error
	for _, watch := range p.watches {
		watch.end()
	}
	for name := range p.workers {
		if err := p.stopWorker(name, 0, 30*time.Second); err != nil {
			failed = err
		}
	}
	if err := p.client.Close(); err != nil {
		failed = err
	}
	return failed
}

func (p *player) createType(name string, given any) error {
	taskType := &asyncflowpb.TaskType{}
	if err := protojson.Unmarshal(mustMarshal(given), taskType); err != nil {
		return err
	}
	taskType.Name = name
	_, err := p.client.CreateType(context.Background(), taskType)
	return err
}

type verb struct {
	fields []string
	do     func(*player, context.Context, fields) (any, error)
}

var verbs = map[string]verb{
	"create":        {[]string{"task", "request_id"}, (*player).create},
	"batch_create":  {[]string{"tasks"}, (*player).batchCreate},
	"stream_create": {[]string{"tasks"}, (*player).streamCreate},
	"get":           {[]string{"task"}, (*player).get},
	"list":          {[]string{"filter", "page_size"}, (*player).list},
	"count":         {[]string{"task_type", "states"}, (*player).count},
	"cancel":        {[]string{"task"}, (*player).cancel},
	"retry":         {[]string{"task"}, (*player).retry},
	"wait":          {[]string{"task", "timeout_s"}, (*player).wait},
	"attempts":      {[]string{"task"}, (*player).attempts},
	"logs":          {[]string{"task"}, (*player).logs},
	"watch_begin":   {[]string{"watch", "task", "filter"}, (*player).watchBegin},
	"watch_until":   {[]string{"watch", "state", "timeout_s"}, (*player).watchUntil},
	"worker_start":  {[]string{"worker", "handlers", "slots"}, (*player).workerStart},
	"worker_stop":   {[]string{"worker", "drain_s", "timeout_s"}, (*player).workerStop},
}

func (p *player) do(name string, given map[string]any) (any, error) {
	if name == "control" {
		return control(given)
	}
	found, ok := verbs[name]
	if !ok {
		return nil, fmt.Errorf("unknown step: %s", name)
	}
	for key := range given {
		known := key == "deadline_ms"
		for _, one := range found.fields {
			known = known || key == one
		}
		if !known {
			return nil, fmt.Errorf("%s does not know %s", name, key)
		}
	}
	var read fields
	if err := strictly(given, &read); err != nil {
		return nil, err
	}
	ctx := context.Background()
	if read.DeadlineMS > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, seconds(read.DeadlineMS/1000))
		defer cancel()
	}
	return found.do(p, ctx, read)
}

// control asks the driver to break something.
func control(given map[string]any) (any, error) {
	url := os.Getenv("ASYNCFLOW_CONFORMANCE_CONTROL")
	answer, err := http.Post(url, "application/json", bytes.NewReader(mustMarshal(given)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("control: %s: %s", answer.Status, text)
	}
	return map[string]any{}, err
}

// told is a message as JSON.
func told(message proto.Message, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	data, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(message)
	if err != nil {
		return nil, err
	}
	var out any
	err = json.Unmarshal(data, &out)
	return out, err
}

func spec(given json.RawMessage) (*asyncflowpb.TaskSpec, error) {
	task := &asyncflowpb.TaskSpec{}
	return task, protojson.Unmarshal(given, task)
}

func specs(given []json.RawMessage) ([]*asyncflowpb.TaskSpec, error) {
	var tasks []*asyncflowpb.TaskSpec
	for _, one := range given {
		task, err := spec(one)
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, task)
	}
	return tasks, nil
}

func codeName(number int32) string {
	return code.Code_name[number]
}
