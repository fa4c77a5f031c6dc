package main

import (
	"bytes"
	"context"
	"encoding/base64"

	"github.com/IBM/sarama"
	kafka "github.com/cloudevents/sdk-go/protocol/kafka_sarama/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Seen is a message as a reader gets it; the CloudEvents SDK takes sarama's form of it.
type Seen = sarama.ConsumerMessage

func consume(client Client, job Job) (Answer, error) {
	schemas := map[string]*jsonschema.Schema{}
	left := map[string]map[int32]int64{}
	for topic, wanted := range job.Topics {
		compiler := jsonschema.NewCompiler()
		compiler.AssertFormat()
		if err := compiler.AddResource(topic, wanted.Schema); err != nil {
			return nil, err
		}
		schema, err := compiler.Compile(topic)
		if err != nil {
			return nil, err
		}
		schemas[topic], left[topic] = schema, wanted.Last
	}
	messages := []Answer{}
	var problem error
	err := client.Consume(job, func(seen Seen) bool {
		told, err := describe(seen, schemas[seen.Topic])
		messages, problem = append(messages, told), err
		if last, there := left[seen.Topic][seen.Partition]; there && seen.Offset >= last {
			delete(left[seen.Topic], seen.Partition)
		}
		waiting := 0
		for _, partitions := range left {
			waiting += len(partitions)
		}
		return problem == nil && waiting > 0
	})
	if problem != nil {
		err = problem
	}
	return Answer{"messages": messages}, err
}

func describe(seen Seen, schema *jsonschema.Schema) (Answer, error) {
	headers := [][2]string{}
	for _, header := range seen.Headers {
		headers = append(headers, [2]string{string(header.Key), base64.StdEncoding.EncodeToString(header.Value)})
	}
	var invalid any
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(seen.Value))
	if err != nil {
		return nil, err
	}
	if err := schema.Validate(value); err != nil {
		invalid = err.Error()
	}
	event, err := binding.ToEvent(context.Background(), kafka.NewMessageFromConsumerMessage(&seen))
	if err != nil {
		return nil, err
	}
	if err := event.Validate(); err != nil {
		return nil, err
	}
	return Answer{
		"topic": seen.Topic, "partition": seen.Partition, "offset": seen.Offset,
		"key": string(seen.Key), "value": string(seen.Value), "headers": headers, "invalid": invalid,
		"event": Answer{
			"id": event.ID(), "source": event.Source(), "type": event.Type(), "specversion": event.SpecVersion(),
			"time": event.Time(), "datacontenttype": event.DataContentType(), "data": string(event.Data()),
		},
	}, nil
}
