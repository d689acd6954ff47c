"""The actions of SQS by name, and their signature."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from courier.local.virtual import moving, permissions, queue_actions, receiving, sending, settling, tagging
from courier.local.virtual.call import ActionAnswer, Call

if TYPE_CHECKING:
    from courier.local.virtual.call import SqsService

__all__ = ["ACTIONS", "Action", "ActionAnswer", "Call"]

Action = Callable[["SqsService", Call], ActionAnswer]

ACTIONS: Final[dict[str, Action]] = {
    "AddPermission": permissions.add_permission,
    "CancelMessageMoveTask": moving.cancel_message_move_task,
    "ChangeMessageVisibility": settling.change_message_visibility,
    "ChangeMessageVisibilityBatch": settling.change_message_visibility_batch,
    "CreateQueue": queue_actions.create_queue,
    "DeleteMessage": settling.delete_message,
    "DeleteMessageBatch": settling.delete_message_batch,
    "DeleteQueue": queue_actions.delete_queue,
    "GetQueueAttributes": queue_actions.get_queue_attributes,
    "GetQueueUrl": queue_actions.get_queue_url,
    "ListDeadLetterSourceQueues": queue_actions.list_dead_letter_source_queues,
    "ListMessageMoveTasks": moving.list_message_move_tasks,
    "ListQueueTags": tagging.list_queue_tags,
    "ListQueues": queue_actions.list_queues,
    "PurgeQueue": queue_actions.purge_queue,
    "ReceiveMessage": receiving.receive_message,
    "RemovePermission": permissions.remove_permission,
    "SendMessage": sending.send_message,
    "SendMessageBatch": sending.send_message_batch,
    "SetQueueAttributes": queue_actions.set_queue_attributes,
    "StartMessageMoveTask": moving.start_message_move_task,
    "TagQueue": tagging.tag_queue,
    "UntagQueue": tagging.untag_queue,
}
