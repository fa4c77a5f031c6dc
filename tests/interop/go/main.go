// The clients written in Go, as tests/interop/program.py asks: a JSON object a line in, one a line out.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
)

// Job is what is asked for.
type Job struct {
	Do          string
	Bootstrap   string
	Topic       string
	Codec       string
	Mode        string
	Transaction *string
	TimeoutMs   int `json:"timeout_ms"`
	Messages    []Message
	Group       string
	Topics      map[string]struct {
		Schema any
		Last   map[int32]int64
	}
}

// Message is to be sent as it is.
type Message struct {
	Key, Value string
	Headers    []Header
}

// Header has any bytes or none, spelled as [name, value in base64 or null].
type Header struct {
	Name  string
	Value []byte
}

// UnmarshalJSON reads the pair.
func (h *Header) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&h.Name, &h.Value})
}

// Answer tells what came of a job.
type Answer map[string]any

// Client is one of the two.
type Client interface {
	Produce(Job) error
	End(Job) error
	// Consume calls back for each message until told to stop.
	Consume(Job, func(Seen) bool) error
	Module() string
}

var clients = map[string]Client{"franz-go": &Franz{}, "sarama": &Sarama{}}

func main() {
	client := clients[os.Args[1]]
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		answer, err := answerTo(client, lines.Bytes())
		if err != nil {
			answer = Answer{"error": err.Error()}
		}
		told, _ := json.Marshal(answer)
		fmt.Println(string(told))
	}
	os.Exit(0) // transactions stay open
}

func answerTo(client Client, line []byte) (Answer, error) {
	var job Job
	if err := json.Unmarshal(line, &job); err != nil {
		return nil, err
	}
	switch job.Do {
	case "about":
		return about(client), nil
	case "produce":
		return Answer{}, client.Produce(job)
	case "end":
		return Answer{}, client.End(job)
	case "consume":
		return consume(client, job)
	}
	return nil, fmt.Errorf("unknown job %q", job.Do)
}

func about(client Client) Answer {
	build, _ := debug.ReadBuildInfo()
	module := func(path string) string {
		for _, dependency := range build.Deps {
			if dependency.Path == path {
				return path + " " + dependency.Version
			}
		}
		return path
	}
	return Answer{
		"client":    module(client.Module()),
		"runtime":   "Go " + build.GoVersion[len("go"):],
		"codecs":    "its own",
		"events":    module("github.com/cloudevents/sdk-go/protocol/kafka_sarama/v2"),
		"validator": module("github.com/santhosh-tekuri/jsonschema/v6"),
	}
}
