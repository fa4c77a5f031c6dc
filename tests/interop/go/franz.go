package main

import (
	"context"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Franz is franz-go.
type Franz struct {
	leftOpen []*kgo.Client
}

var franzCodecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

// Module is where it is from.
func (*Franz) Module() string { return "github.com/twmb/franz-go" }

func (*Franz) client(job Job) (*kgo.Client, error) {
	options := []kgo.Opt{kgo.SeedBrokers(job.Bootstrap), kgo.ProducerBatchCompression(franzCodecs[job.Codec])}
	if job.Transaction != nil {
		timeout := time.Duration(job.TimeoutMs) * time.Millisecond
		options = append(options, kgo.TransactionalID(*job.Transaction), kgo.TransactionTimeout(timeout))
	} else if job.Mode == "plain" {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	return kgo.NewClient(options...)
}

// Produce sends the messages, and ends the transaction or leaves it open.
func (f *Franz) Produce(job Job) error {
	ctx := context.Background()
	client, err := f.client(job)
	if err != nil {
		return err
	}
	if job.Transaction != nil {
		if err := client.BeginTransaction(); err != nil {
			return err
		}
	}
	records := []*kgo.Record{}
	for _, message := range job.Messages {
		record := &kgo.Record{Topic: job.Topic, Key: []byte(message.Key), Value: []byte(message.Value)}
		for _, header := range message.Headers {
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: header.Name, Value: header.Value})
		}
		records = append(records, record)
	}
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return err
	}
	switch job.Mode {
	case "open":
		f.leftOpen = append(f.leftOpen, client)
		return nil
	case "commit", "abort":
		err = client.EndTransaction(ctx, kgo.TransactionEndTry(job.Mode == "commit"))
	}
	client.Close()
	return err
}

// End takes over the transactional id, which aborts what was left open.
func (f *Franz) End(job Job) error {
	client, err := f.client(job)
	if err != nil {
		return err
	}
	defer client.Close()
	_, _, err = client.ProducerID(context.Background())
	return err
}

// Consume reads what is committed, from the beginning, as a group.
func (*Franz) Consume(job Job, each func(Seen) bool) error {
	topics := []string{}
	for topic := range job.Topics {
		topics = append(topics, topic)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(job.Bootstrap), kgo.ConsumerGroup(job.Group),
		kgo.ConsumeTopics(topics...), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		fetches := client.PollFetches(context.Background())
		if err := fetches.Err(); err != nil {
			return err
		}
		for _, record := range fetches.Records() {
			seen := Seen{Topic: record.Topic, Partition: record.Partition, Offset: record.Offset,
				Key: record.Key, Value: record.Value}
			for _, header := range record.Headers {
				seen.Headers = append(seen.Headers, &sarama.RecordHeader{Key: []byte(header.Key), Value: header.Value})
			}
			if !each(seen) {
				return nil
			}
		}
	}
}
