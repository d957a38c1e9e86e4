package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"
)

func kafkaGoChecks() []check {
	return []check{
		{"kafka-go: every acknowledgement and compression", kafkaGoWriter},
		{"kafka-go: a record as it was sent, and positions", kafkaGoPositions},
		{"kafka-go: a group and its commits", kafkaGoGroup},
		{"kafka-go: members share the partitions", kafkaGoShares},
		{"kafka-go: topics and offsets are looked after", kafkaGoAdmin},
	}
}

// kafkaGoController connects to the broker that topics are made and deleted at.
func kafkaGoController() (*kafka.Conn, error) {
	first, err := kafka.Dial("tcp", server)
	if err != nil {
		return nil, err
	}
	defer first.Close()
	controller, err := first.Controller()
	if err != nil {
		return nil, err
	}
	return kafka.Dial("tcp", net.JoinHostPort(controller.Host, strconv.Itoa(controller.Port)))
}

func kafkaGoTopic(partitions int) (string, error) {
	conn, err := kafkaGoController()
	if err != nil {
		return "", err
	}
	defer conn.Close()
	name := fresh("kafka-go")
	return name, conn.CreateTopics(kafka.TopicConfig{Topic: name, NumPartitions: partitions, ReplicationFactor: 1})
}

// kafkaGoOpen points a writer at the server and returns what closes it. The default transport would not see topics that
// are younger than what it knows.
func kafkaGoOpen(writer *kafka.Writer) func() {
	transport := &kafka.Transport{}
	writer.Addr, writer.Transport, writer.BatchTimeout = kafka.TCP(server), transport, 10*time.Millisecond
	return func() {
		writer.Close()
		transport.CloseIdleConnections()
	}
}

func kafkaGoProduce(limit context.Context, writer *kafka.Writer, count int) error {
	defer kafkaGoOpen(writer)()
	var messages []kafka.Message
	for number := range count {
		messages = append(messages, kafka.Message{Key: fmt.Append(nil, "key", number), Value: fmt.Append(nil, "value", number)})
	}
	return writer.WriteMessages(limit, messages...)
}

// kafkaGoReader reads one partition, or what a group gives it.
func kafkaGoReader(config kafka.ReaderConfig) *kafka.Reader {
	config.Brokers = []string{server}
	config.MaxWait = 100 * time.Millisecond
	config.HeartbeatInterval = 300 * time.Millisecond
	config.JoinGroupBackoff = 100 * time.Millisecond
	config.StartOffset = kafka.FirstOffset
	return kafka.NewReader(config)
}

// kafkaGoRead fetches so many messages.
func kafkaGoRead(limit context.Context, reader *kafka.Reader, count int) ([]kafka.Message, error) {
	var messages []kafka.Message
	for len(messages) < count {
		message, err := reader.FetchMessage(limit)
		if err != nil {
			return nil, fmt.Errorf("after %d of %d messages: %w", len(messages), count, err)
		}
		messages = append(messages, message)
	}
	return messages, nil
}

func kafkaGoWriter() error {
	limit, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	topic, err := kafkaGoTopic(1)
	if err != nil {
		return err
	}
	var writers []*kafka.Writer
	for _, acks := range []kafka.RequiredAcks{kafka.RequireNone, kafka.RequireOne, kafka.RequireAll} {
		writers = append(writers, &kafka.Writer{Topic: topic, RequiredAcks: acks})
	}
	for _, codec := range []compress.Compression{compress.Gzip, compress.Snappy, compress.Lz4, compress.Zstd} {
		writers = append(writers, &kafka.Writer{Topic: topic, RequiredAcks: kafka.RequireAll, Compression: codec})
	}
	for _, writer := range writers {
		if err := kafkaGoProduce(limit, writer, 100); err != nil {
			return err
		}
	}
	reader := kafkaGoReader(kafka.ReaderConfig{Topic: topic})
	defer reader.Close()
	messages, err := kafkaGoRead(limit, reader, 100*len(writers))
	if err != nil {
		return err
	}
	for index, message := range messages {
		if err := same("value", fmt.Sprint("value", index%100), string(message.Value)); err != nil {
			return err
		}
	}
	return nil
}

func kafkaGoPositions() error {
	limit, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	topic, err := kafkaGoTopic(1)
	if err != nil {
		return err
	}
	begin := time.UnixMilli(1600000000000)
	writer := &kafka.Writer{Topic: topic}
	defer kafkaGoOpen(writer)()
	for number := range 10 {
		header := kafka.Header{Key: "number", Value: fmt.Append(nil, number)}
		message := kafka.Message{Value: []byte("x"), Time: begin.Add(time.Duration(number) * time.Second), Headers: []kafka.Header{header}}
		if err := writer.WriteMessages(limit, message); err != nil {
			return err
		}
	}
	reader := kafkaGoReader(kafka.ReaderConfig{Topic: topic})
	defer reader.Close()
	if err := reader.SetOffset(7); err != nil {
		return err
	}
	messages, err := kafkaGoRead(limit, reader, 1)
	if err != nil {
		return err
	}
	found := messages[0]
	if err := same("what lies there", "7 number=7", fmt.Sprintf("%d %s=%s", found.Offset, found.Headers[0].Key, found.Headers[0].Value)); err != nil {
		return err
	}
	if err := same("its time", begin.UnixMilli()+7000, found.Time.UnixMilli()); err != nil {
		return err
	}
	if err := reader.SetOffsetAt(limit, begin.Add(3500*time.Millisecond)); err != nil {
		return err
	}
	if err := same("the first offset behind a time", 4, reader.Offset()); err != nil {
		return err
	}
	lag, err := reader.ReadLag(limit)
	if err != nil {
		return err
	}
	return same("what is left from there", 6, lag)
}

func kafkaGoGroup() error {
	limit, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	topic, err := kafkaGoTopic(2)
	if err != nil {
		return err
	}
	group := fresh("group")
	for _, count := range []int{30, 12} {
		if err := kafkaGoProduce(limit, &kafka.Writer{Topic: topic}, count); err != nil {
			return err
		}
		reader := kafkaGoReader(kafka.ReaderConfig{GroupID: group, Topic: topic})
		messages, err := kafkaGoRead(limit, reader, count)
		if err == nil {
			err = reader.CommitMessages(limit, messages...)
		}
		if err := errors.Join(err, reader.Close()); err != nil {
			return err
		}
	}
	return nil
}

func kafkaGoShares() error {
	limit, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	topic, err := kafkaGoTopic(4)
	if err != nil {
		return err
	}
	config := kafka.ConsumerGroupConfig{
		ID: fresh("group"), Brokers: []string{server}, Topics: []string{topic},
		HeartbeatInterval: 300 * time.Millisecond, JoinGroupBackoff: 100 * time.Millisecond,
	}
	// Each member joins again whenever its generation is over, and tells how much it was given.
	given := make([]chan int, 2)
	leave := make([]func(), 2)
	for index := range given {
		told, member := make(chan int, 100), fmt.Sprint("member ", index)
		group, err := kafka.NewConsumerGroup(config)
		if err != nil {
			return fmt.Errorf("%s: %w", member, err)
		}
		given[index], leave[index] = told, func() { group.Close() }
		defer leave[index]()
		go func() {
			for {
				generation, err := group.Next(limit)
				if errors.Is(err, kafka.ErrGroupClosed) || limit.Err() != nil {
					return
				}
				if err != nil {
					// The other one came before this generation was complete: there will be another.
					continue
				}
				told <- len(generation.Assignments[topic])
				generation.Start(func(over context.Context) { <-over.Done() })
			}
		}()
	}
	shares := []int{0, 0}
	settle := func(wanted ...int) error {
		for shares[0] != wanted[0] || shares[1] != wanted[1] {
			select {
			case shares[0] = <-given[0]:
			case shares[1] = <-given[1]:
			case <-limit.Done():
				return fmt.Errorf("the shares are %v instead of %v", shares, wanted)
			}
		}
		return nil
	}
	if err := settle(2, 2); err != nil {
		return err
	}
	leave[1]()
	return settle(4, 2)
}

func kafkaGoAdmin() error {
	limit, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	topic, err := kafkaGoTopic(3)
	if err != nil {
		return err
	}
	conn, err := kafkaGoController()
	if err != nil {
		return err
	}
	defer conn.Close()
	client := &kafka.Client{Addr: kafka.TCP(server), Timeout: patience, Transport: &kafka.Transport{}}
	again := kafka.TopicConfig{Topic: topic, NumPartitions: 3, ReplicationFactor: 1}
	twice, err := client.CreateTopics(limit, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{again}})
	if err != nil {
		return err
	}
	if !errors.Is(twice.Errors[topic], kafka.TopicAlreadyExists) {
		return fmt.Errorf("a topic was made twice: %v", twice.Errors)
	}
	partitions, err := conn.ReadPartitions(topic)
	if err != nil {
		return err
	}
	if err := same("partitions", 3, len(partitions)); err != nil {
		return err
	}
	grown, err := client.CreatePartitions(limit, &kafka.CreatePartitionsRequest{
		Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: 5}},
	})
	if err == nil {
		err = grown.Errors[topic]
	}
	if err != nil {
		return err
	}
	if partitions, err = conn.ReadPartitions(topic); err != nil {
		return err
	}
	if err := same("partitions after it grew", 5, len(partitions)); err != nil {
		return err
	}
	leader, err := kafka.DialLeader(limit, "tcp", server, topic, 0)
	if err != nil {
		return err
	}
	defer leader.Close()
	if _, err := leader.WriteMessages(kafka.Message{Value: []byte("one")}, kafka.Message{Value: []byte("two")}); err != nil {
		return err
	}
	first, last, err := leader.ReadOffsets()
	if err != nil {
		return err
	}
	if err := same("offsets", "0 2", fmt.Sprint(first, last)); err != nil {
		return err
	}
	if err := conn.DeleteTopics(topic); err != nil {
		return err
	}
	if err := conn.DeleteTopics(topic); !errors.Is(err, kafka.UnknownTopicOrPartition) {
		return fmt.Errorf("a topic was deleted twice: %v", err)
	}
	return nil
}
