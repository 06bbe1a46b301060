//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of /proc/<pid>/stat: USER_HZ, 100 on every Linux that Go runs on. The kernel rounds a precise sum to it.
const tick = 10 * time.Millisecond

// process is what /proc tells of one.
type process struct {
	parent     int
	own, ended int64 // ticks of user and system time: its own, and of children it has waited for
}

func readProcess(pid int) (process, error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return process{}, err
	}
	end := bytes.LastIndexByte(b, ')') // the name before may hold anything
	f := strings.Fields(string(b[end+1:]))
	if end < 0 || len(f) < 15 {
		return process{}, fmt.Errorf("process %d: stat has %d fields", pid, len(f))
	}
	n := make([]int64, 15)
	for _, i := range []int{1, 11, 12, 13, 14} { // ppid, utime, stime, cutime, cstime: proc(5) counts from 1 with pid and name
		if n[i], err = strconv.ParseInt(f[i], 10, 64); err != nil {
			return process{}, fmt.Errorf("process %d: %w", pid, err)
		}
	}
	return process{int(n[1]), n[11] + n[12], n[13] + n[14]}, nil
}

// cpu is the CPU time of a process, without its children.
func cpu(pid int) (time.Duration, error) {
	p, err := readProcess(pid)
	return time.Duration(p.own) * tick, err
}

// treeCPU is the CPU time of a process and all below it, ended ones included.
func treeCPU(root int) (time.Duration, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	all := map[int]process{}
	for _, d := range dirs {
		pid, err := strconv.Atoi(filepath.Base(d))
		if err != nil {
			continue
		}
		p, err := readProcess(pid)
		if errors.Is(err, os.ErrNotExist) || err != nil && strings.Contains(err.Error(), "no such process") {
			continue // ended meanwhile
		}
		if err != nil {
			return 0, err
		}
		all[pid] = p
	}
	var sum int64
	for pid, p := range all {
		for up := pid; up > 1; up = all[up].parent {
			if up == root {
				sum += p.own + p.ended
				break
			}
		}
	}
	if sum == 0 {
		return 0, fmt.Errorf("process %d is gone", root)
	}
	return time.Duration(sum) * tick, nil
}

// rss is a process's resident memory in bytes.
func rss(pid int) (int64, error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, err
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("process %d: no VmRSS", pid)
}
