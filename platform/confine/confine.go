// Package confine gives up, once and for the whole process, what a service of root does not need of root's power.
package confine
