/* Signals, taken by a thread of their own: SIGTERM and SIGINT stop the node, a second one ends the process at once;
 * SIGHUP reloads certificates and the deny list. Until a node is attached, SIGTERM and SIGINT end the process: nothing
 * has been promised yet, and the disk is safe at any moment. */
#ifndef LAPSE_NODE_LAPSED_SIGNALS_H
#define LAPSE_NODE_LAPSED_SIGNALS_H

#include "node/node.h"

/* Once, before any other thread is started (they inherit the mask). */
void signals_start(void);
void signals_attach(struct node *node);
/* Whether a stop was asked for. */
bool signals_stopping(void);
/* The node is not touched any more after this; joins the thread. */
void signals_end(void);

#endif
