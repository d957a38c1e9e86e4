package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

func saramaConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V3_6_0_0
	config.Producer.Return.Successes = true
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	return config
}

func saramaChecks() []check {
	return []check{
		{"sarama: records in every compression", saramaCompressions},
		{"sarama: an idempotent producer", saramaIdempotent},
		{"sarama: a group and its commits", saramaGroup},
		{"sarama: topics, settings and records are looked after", saramaAdmin},
	}
}

func saramaTopic(partitions int32) (string, error) {
	admin, err := sarama.NewClusterAdmin([]string{server}, saramaConfig())
	if err != nil {
		return "", err
	}
	defer admin.Close()
	name := fresh("sarama")
	return name, admin.CreateTopic(name, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false)
}

func saramaProduce(topic string, config *sarama.Config, count int) error {
	producer, err := sarama.NewSyncProducer([]string{server}, config)
	if err != nil {
		return err
	}
	defer producer.Close()
	var messages []*sarama.ProducerMessage
	for number := range count {
		messages = append(messages, &sarama.ProducerMessage{
			Topic:   topic,
			Key:     sarama.StringEncoder(fmt.Sprint("key", number)),
			Value:   sarama.StringEncoder(fmt.Sprint("value", number)),
			Headers: []sarama.RecordHeader{{Key: []byte("number"), Value: []byte(fmt.Sprint(number))}},
		})
	}
	return producer.SendMessages(messages)
}

// saramaRead takes so many records of partition 0.
func saramaRead(topic string, count int) error {
	consumer, err := sarama.NewConsumer([]string{server}, saramaConfig())
	if err != nil {
		return err
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(topic, 0, sarama.OffsetOldest)
	if err != nil {
		return err
	}
	defer partition.Close()
	deadline := time.After(patience)
	for number := range count {
		select {
		case message := <-partition.Messages():
			if err := same("offset", int64(number), message.Offset); err != nil {
				return err
			}
		case <-deadline:
			return fmt.Errorf("%d of %d records came", number, count)
		}
	}
	return nil
}

func saramaCompressions() error {
	topic, err := saramaTopic(1)
	if err != nil {
		return err
	}
	codecs := []sarama.CompressionCodec{
		sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4, sarama.CompressionZSTD,
	}
	for _, codec := range codecs {
		config := saramaConfig()
		config.Producer.Compression = codec
		config.Producer.RequiredAcks = sarama.WaitForAll
		if err := saramaProduce(topic, config, 200); err != nil {
			return fmt.Errorf("%v: %w", codec, err)
		}
	}
	return saramaRead(topic, 200*len(codecs))
}

func saramaIdempotent() error {
	topic, err := saramaTopic(1)
	if err != nil {
		return err
	}
	config := saramaConfig()
	config.Producer.Idempotent = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Net.MaxOpenRequests = 1
	if err := saramaProduce(topic, config, 1000); err != nil {
		return err
	}
	return saramaRead(topic, 1000)
}

// handler counts what a group reads, and ends the session once that is enough.
type handler struct {
	wanted, seen int
	enough       context.CancelFunc
}

func (*handler) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (*handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (h *handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message := <-claim.Messages():
			if message == nil {
				return nil
			}
			session.MarkMessage(message, "")
			h.seen++
			if h.seen == h.wanted {
				session.Commit()
				h.enough()
			}
		case <-session.Context().Done():
			return nil
		}
	}
}

func saramaGroupRead(topic, group string, wanted int) error {
	member, err := sarama.NewConsumerGroup([]string{server}, group, saramaConfig())
	if err != nil {
		return err
	}
	defer member.Close()
	limit, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	reader := &handler{wanted: wanted, enough: cancel}
	for limit.Err() == nil {
		if err := member.Consume(limit, []string{topic}, reader); err != nil && limit.Err() == nil {
			return err
		}
	}
	return same("records", wanted, reader.seen)
}

func saramaGroup() error {
	topic, err := saramaTopic(1)
	if err != nil {
		return err
	}
	group := fresh("group")
	if err := saramaProduce(topic, saramaConfig(), 30); err != nil {
		return err
	}
	if err := saramaGroupRead(topic, group, 30); err != nil {
		return err
	}
	if err := saramaProduce(topic, saramaConfig(), 12); err != nil {
		return err
	}
	return saramaGroupRead(topic, group, 12)
}

func saramaAdmin() error {
	admin, err := sarama.NewClusterAdmin([]string{server}, saramaConfig())
	if err != nil {
		return err
	}
	defer admin.Close()
	topic, err := saramaTopic(1)
	if err != nil {
		return err
	}
	err = admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false)
	if !errors.Is(err, sarama.ErrTopicAlreadyExists) {
		return fmt.Errorf("a topic was made twice: %v", err)
	}
	if err := admin.CreatePartitions(topic, 3, nil, false); err != nil {
		return err
	}
	retention := "7200000"
	if err := admin.AlterConfig(sarama.TopicResource, topic, map[string]*string{"retention.ms": &retention}, false); err != nil {
		return err
	}
	entries, err := admin.DescribeConfig(sarama.ConfigResource{
		Type: sarama.TopicResource, Name: topic, ConfigNames: []string{"retention.ms"},
	})
	if err != nil {
		return err
	}
	if len(entries) != 1 || entries[0].Value != retention {
		return fmt.Errorf("the settings are %v", entries)
	}
	if err := saramaProduce(topic, saramaConfig(), 10); err != nil {
		return err
	}
	if err := admin.DeleteRecords(topic, map[int32]int64{0: 0}); err != nil {
		return err
	}
	brokers, controller, err := admin.DescribeCluster()
	if err != nil {
		return err
	}
	if len(brokers) != 1 || controller != 1 {
		return fmt.Errorf("brokers %v, controller %d", brokers, controller)
	}
	return admin.DeleteTopic(topic)
}
