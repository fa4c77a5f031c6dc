package main

import (
	"context"
	"time"

	"github.com/IBM/sarama"
)

// Sarama is sarama.
type Sarama struct {
	leftOpen []sarama.SyncProducer
}

var saramaCodecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

// Module is where it is from.
func (*Sarama) Module() string { return "github.com/IBM/sarama" }

func (*Sarama) producer(job Job) (sarama.SyncProducer, error) {
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	config.Producer.Compression = saramaCodecs[job.Codec]
	config.Producer.RequiredAcks = sarama.WaitForAll
	if job.Mode != "plain" {
		config.Producer.Idempotent = true
		config.Net.MaxOpenRequests = 1
	}
	if job.Transaction != nil {
		config.Producer.Transaction.ID = *job.Transaction
		config.Producer.Transaction.Timeout = time.Duration(job.TimeoutMs) * time.Millisecond
	}
	return sarama.NewSyncProducer([]string{job.Bootstrap}, config)
}

// Produce sends the messages, and ends the transaction or leaves it open.
func (s *Sarama) Produce(job Job) error {
	producer, err := s.producer(job)
	if err != nil {
		return err
	}
	if job.Transaction != nil {
		if err := producer.BeginTxn(); err != nil {
			return err
		}
	}
	messages := []*sarama.ProducerMessage{}
	for _, message := range job.Messages {
		made := &sarama.ProducerMessage{Topic: job.Topic,
			Key: sarama.StringEncoder(message.Key), Value: sarama.StringEncoder(message.Value)}
		for _, header := range message.Headers {
			made.Headers = append(made.Headers, sarama.RecordHeader{Key: []byte(header.Name), Value: header.Value})
		}
		messages = append(messages, made)
	}
	if err := producer.SendMessages(messages); err != nil {
		return err
	}
	switch job.Mode {
	case "open":
		s.leftOpen = append(s.leftOpen, producer)
		return nil
	case "commit":
		err = producer.CommitTxn()
	case "abort":
		err = producer.AbortTxn()
	}
	if err != nil {
		return err
	}
	return producer.Close()
}

// End takes over the transactional id, which aborts what was left open.
func (s *Sarama) End(job Job) error {
	producer, err := s.producer(job)
	if err != nil {
		return err
	}
	return producer.Close()
}

// Consume reads what is committed, from the beginning, as a group.
func (*Sarama) Consume(job Job, each func(Seen) bool) error {
	config := sarama.NewConfig()
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	group, err := sarama.NewConsumerGroup([]string{job.Bootstrap}, job.Group, config)
	if err != nil {
		return err
	}
	defer group.Close()
	topics := []string{}
	for topic := range job.Topics {
		topics = append(topics, topic)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	arriving := make(chan Seen)
	ended := make(chan error, 1)
	go func() { ended <- group.Consume(ctx, topics, handler{arriving}) }()
	for {
		select {
		case err := <-ended:
			return err
		case seen := <-arriving:
			if !each(seen) {
				stop()
				return <-ended
			}
		}
	}
}

// handler brings the messages of all partitions together.
type handler struct{ arriving chan<- Seen }

// Setup has nothing to do.
func (handler) Setup(sarama.ConsumerGroupSession) error { return nil }

// Cleanup has nothing to do.
func (handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim hands over the messages of a partition.
func (h handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case <-session.Context().Done():
			return nil
		case message, there := <-claim.Messages():
			if !there {
				return nil
			}
			select {
			case h.arriving <- *message:
			case <-session.Context().Done():
				return nil
			}
		}
	}
}
