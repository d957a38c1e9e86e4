package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func franzChecks() []check {
	return []check{
		{"franz-go: records in every compression", franzCompressions},
		{"franz-go: a group and its commits", franzGroup},
		{"franz-go: topics, settings and records are looked after", franzAdmin},
	}
}

func franzClient(options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(options, kgo.SeedBrokers(server))...)
}

func franzTopic(limit context.Context, partitions int32) (string, error) {
	client, err := franzClient()
	if err != nil {
		return "", err
	}
	defer client.Close()
	name := fresh("franz")
	_, err = kadm.NewClient(client).CreateTopic(limit, partitions, 1, nil, name)
	return name, err
}

func franzProduce(limit context.Context, topic string, count int, options ...kgo.Opt) error {
	client, err := franzClient(options...)
	if err != nil {
		return err
	}
	defer client.Close()
	var records []*kgo.Record
	for number := range count {
		records = append(records, &kgo.Record{Topic: topic, Value: fmt.Append(nil, "value", number)})
	}
	return client.ProduceSync(limit, records...).FirstErr()
}

// franzRead polls until so many records are there.
func franzRead(limit context.Context, client *kgo.Client, count int) error {
	for seen := 0; seen < count; {
		fetches := client.PollFetches(limit)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("after %d of %d records: %w", seen, count, err)
		}
		seen += fetches.NumRecords()
		if seen > count {
			return fmt.Errorf("%d records instead of %d", seen, count)
		}
	}
	return nil
}

func franzCompressions() error {
	limit, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	topic, err := franzTopic(limit, 2)
	if err != nil {
		return err
	}
	codecs := []kgo.CompressionCodec{
		kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
	}
	for _, codec := range codecs {
		if err := franzProduce(limit, topic, 200, kgo.ProducerBatchCompression(codec)); err != nil {
			return err
		}
	}
	client, err := franzClient(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer client.Close()
	return franzRead(limit, client, 200*len(codecs))
}

func franzGroup() error {
	limit, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	topic, err := franzTopic(limit, 3)
	if err != nil {
		return err
	}
	group := fresh("group")
	for _, count := range []int{30, 12} {
		if err := franzProduce(limit, topic, count); err != nil {
			return err
		}
		client, err := franzClient(
			kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err != nil {
			return err
		}
		err = franzRead(limit, client, count)
		if err == nil {
			err = client.CommitUncommittedOffsets(limit)
		}
		client.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func franzAdmin() error {
	limit, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client, err := franzClient()
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	topic, err := franzTopic(limit, 1)
	if err != nil {
		return err
	}
	if _, err := admin.CreateTopic(limit, 1, 1, nil, topic); !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("a topic was made twice: %v", err)
	}
	value := "7200000"
	altered, err := admin.AlterTopicConfigs(limit, []kadm.AlterConfig{{Name: "retention.ms", Value: &value}}, topic)
	if err != nil {
		return err
	}
	if altered[0].Err != nil {
		return altered[0].Err
	}
	described, err := admin.DescribeTopicConfigs(limit, topic)
	if err != nil {
		return err
	}
	found := ""
	for _, config := range described[0].Configs {
		if config.Key == "retention.ms" {
			found = config.MaybeValue()
		}
	}
	if err := same("retention.ms", value, found); err != nil {
		return err
	}
	if err := franzProduce(limit, topic, 10); err != nil {
		return err
	}
	before := kadm.Offsets{}
	before.Add(kadm.Offset{Topic: topic, Partition: 0, At: 4, LeaderEpoch: -1})
	deleted, err := admin.DeleteRecords(limit, before)
	if err != nil {
		return err
	}
	if err := deleted.Error(); err != nil {
		return err
	}
	starts, err := admin.ListStartOffsets(limit, topic)
	if err != nil {
		return err
	}
	start, _ := starts.Lookup(topic, 0)
	if err := same("start", 4, start.Offset); err != nil {
		return err
	}
	ends, err := admin.ListEndOffsets(limit, topic)
	if err != nil {
		return err
	}
	end, _ := ends.Lookup(topic, 0)
	if err := same("end", 10, end.Offset); err != nil {
		return err
	}
	_, err = admin.DeleteTopics(limit, topic)
	return err
}
